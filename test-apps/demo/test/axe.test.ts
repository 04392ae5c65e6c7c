import axe from 'axe-core';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { BROWSER, startBrowser } from 'testkit/browser';
import { describeWith } from 'testkit/programs';
import { APPS, openPages } from './pages.js';

/** What axe-core finds in a page: the rule, and the elements that break it. */
async function problemsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => (globalThis as unknown as { axe: typeof axe }).axe.run());
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

describeWith(BROWSER, 'axe-core finds nothing', function () {
  this.timeout(120_000); // each opens up to seven pages, and axe-core looks at all of each
  let browser: Browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser.close());

  for (const app of Object.keys(APPS)) {
    for (const colorScheme of ['light', 'dark'] as const) {
      it(`in any page of the ${app}, ${colorScheme}`, async () => {
        const problems: Record<string, string[]> = {};
        await openPages(app, browser, { screen: 'phone', colorScheme }, async (page, name) => {
          problems[name] = await problemsOf(page);
        });
        expect(Object.values(problems)).not.to.be.empty;
        expect(problems).to.deep.equal(Object.fromEntries(Object.keys(problems).map((name) => [name, []])));
      });
    }
  }
});
