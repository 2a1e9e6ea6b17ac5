import { describe, expect, it } from 'vitest';
import { Complaints } from './complaints.js';

describe('Complaints', () => {
  it('are a reason once several came in a row, and name the last', () => {
    const complaints = new Complaints();
    complaints.add('Worker a could not deliver it.');
    complaints.add('Worker b could not deliver it.');
    expect(complaints.reason).toBeUndefined();
    complaints.add('Worker c could not get its parameters.');
    expect(complaints.reason).toBe(
      'No task has been done since 3 came back undone, the last because: Worker c could not get its parameters.',
    );
  });

  it('are forgotten when a task was done', () => {
    const complaints = new Complaints();
    for (let count = 0; count < 5; count += 1) complaints.add('Worker a could not deliver it.');
    complaints.clear();
    expect(complaints.reason).toBeUndefined();
    complaints.add('Worker a could not deliver it.');
    expect(complaints.reason).toBeUndefined();
  });
});
