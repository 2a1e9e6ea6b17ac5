// Checks that concern several settings at once: what is exposed to whom, whose token is whose, which ports collide.
// Refuses to read the environment, and never repeats a value in a message: it may be a secret.
import { isLoopback, isWildcard } from './addresses.js';
import type { ConfigProblem, CoordinatorConfig } from './config.js';

/** Everything that is wrong with the settings taken together; empty when nothing is. */
export function problemsOf(config: CoordinatorConfig): ConfigProblem[] {
  return [...exposureProblems(config), ...tokenProblems(config), ...portProblems(config)];
}

function exposureProblems(config: CoordinatorConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  if (!isLoopback(config.httpHost) && config.apiTokens.length === 0) {
    const message =
      'is not a loopback address, so that others could use the API: set LOCKSTEP_API_TOKENS too, such as admin:<a long random text>';
    problems.push({ variable: 'LOCKSTEP_HTTP_HOST', message });
  }
  if (!isLoopback(config.grpcHost) && config.workerToken === undefined) {
    const message =
      'is not a loopback address, so that anyone could join as a worker: set LOCKSTEP_WORKER_TOKEN too, to a long random text';
    problems.push({ variable: 'LOCKSTEP_GRPC_HOST', message });
  }
  return problems;
}

function tokenProblems(config: CoordinatorConfig): ConfigProblem[] {
  const tokens = config.apiTokens.map(({ token }) => token);
  const problems: ConfigProblem[] = [];
  if (new Set(tokens).size < tokens.length) {
    const message = 'has the same token twice: give each entry a token of its own';
    problems.push({ variable: 'LOCKSTEP_API_TOKENS', message });
  }
  if (config.workerToken !== undefined && tokens.includes(config.workerToken)) {
    const message = 'is also in LOCKSTEP_API_TOKENS, so that every worker could use the API: choose another one';
    problems.push({ variable: 'LOCKSTEP_WORKER_TOKEN', message });
  }
  return problems;
}

/** The gRPC servers take the control port and one more per slice; port 0 is resolved later and collides with nothing. */
function portProblems(config: CoordinatorConfig): ConfigProblem[] {
  const { grpcPort, reducers, httpPort, reducerAddresses } = config;
  if (reducerAddresses !== undefined && reducerAddresses.length !== reducers) {
    const message = `must have an address for each slice: ${reducers} by LOCKSTEP_REDUCERS`;
    return [{ variable: 'LOCKSTEP_REDUCER_ADDRESSES', message }];
  }
  if (grpcPort === 0) return [];
  const highest = 65_535 - reducers;
  if (grpcPort > highest) {
    const message = `leaves no room for a port per slice: with this LOCKSTEP_REDUCERS it must be at most ${highest}`;
    return [{ variable: 'LOCKSTEP_GRPC_PORT', message }];
  }
  const shared = config.httpHost === config.grpcHost || isWildcard(config.httpHost) || isWildcard(config.grpcHost);
  if (shared && httpPort >= grpcPort && httpPort <= grpcPort + reducers) {
    const message = 'is one of the gRPC ports (LOCKSTEP_GRPC_PORT and one more per slice): choose another one';
    return [{ variable: 'LOCKSTEP_HTTP_PORT', message }];
  }
  return [];
}
