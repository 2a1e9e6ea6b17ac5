// Entry of the thread that audits a ledger: reading and proving 100,000 steps takes seconds.
import { parentPort, workerData } from 'node:worker_threads';
import { auditFile, type LedgerAsOf } from './audit-file.js';

parentPort?.postMessage(auditFile(workerData as LedgerAsOf));
