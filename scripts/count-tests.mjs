// Prints "N passed, N failed" from vitest's JSON report; exit code 1 unless tests ran and none failed.
// A file that fails before its first test, and a run that leaves no report, count as one failure each.
//   node scripts/count-tests.mjs REPORT
import { readFileSync } from 'node:fs';

const { passed, failed } = count(readFileSync(process.argv[2], 'utf8'));
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

function count(text) {
  let report;
  try {
    report = JSON.parse(text);
  } catch {
    return { passed: 0, failed: 1 };
  }
  const brokenFiles = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  );
  return { passed: report.numPassedTests, failed: report.numFailedTests + brokenFiles.length };
}
