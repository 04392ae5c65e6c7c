interface Test {
  readonly title: string;
  readonly duration?: number;
  readonly err?: Error;
  readonly parent?: { fullTitle(): string };
}

interface Runner {
  on(event: 'pass' | 'fail' | 'pending', listener: (test: Test, error?: Error) => void): Runner;
  on(event: 'end', listener: () => void): Runner;
}

/** A mocha reporter that prints a Markdown table: what was tried, how often it failed, and how long it took. */
export default class TableReporter {
  constructor(runner: Runner) {
    const tally = { pass: 0, fail: 0, pending: 0 };
    const row = (outcome: keyof typeof tally, test: Test, note: string): void => {
      tally[outcome]++;
      const seconds = ((test.duration ?? 0) / 1000).toFixed(1);
      const title = `${test.parent?.fullTitle() ?? ''}: ${test.title}`.replaceAll('|', '\\|').replaceAll('\n', ' ');
      console.log(`| ${title} | ${note} | ${seconds} |`);
    };
    console.log('| tried | outcome | seconds |\n|---|---|---|');
    runner.on('pass', (test) => row('pass', test, 'held'));
    runner.on('fail', (test, error) => row('fail', test, `**failed**: ${error?.message.split('\n', 1)[0]}`));
    runner.on('pending', (test) => row('pending', test, 'not tried here'));
    runner.on('end', () => {
      console.log(`\n${tally.pass} held, ${tally.fail} failed, ${tally.pending} not tried.`);
    });
  }
}
