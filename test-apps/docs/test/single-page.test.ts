import { expect } from 'chai';
import { readDocuments } from 'docs/markdown';
import { whileRunning } from 'docs/run-program';
import type { Browser } from 'playwright-core';
import { BROWSER, newVisitor, startBrowser } from 'testkit/browser';
import { serve } from 'testkit/http';
import { describeWith } from 'testkit/programs';

/** The recipe's API on one sub-domain, and pages of two others that call it. */
describeWith(BROWSER, 'The recipe for single-page apps, in Chromium', () => {
  const recipes = readDocuments().find(({ path }) => path === 'docs/recipes.md');
  const program = recipes?.blocks.find(({ code }) => code.includes('const ORIGINS'));
  let browser: Browser;
  before(async () => {
    browser = await startBrowser();
  });
  after(() => browser.close());

  it("counts for the app's own page, and not for another sub-domain's, which brings the same cookie", async () => {
    const pages = await serve((_, response) =>
      response.setHeader('Content-Type', 'text/html').end('<title>page</title>'),
    );
    const visitor = await newVisitor(browser);
    const own = `http://app.example.com:${pages.port}`;
    const code = program?.code.replace("'https://app.example.com'", `'${own}'`) ?? '';
    try {
      await whileRunning({ language: 'js', line: 0, code }, {}, async ({ port }) => {
        const api = `http://api.example.com:${port}/visits`;
        const page = await visitor.newPage();
        const call = (init: RequestInit = {}, url = api) =>
          page.evaluate(
            ([url, init]) =>
              fetch(url, { method: 'POST', credentials: 'include', ...init }).then(
                async (response) => `${response.status} ${await response.text()}`,
                () => 'refused',
              ),
            [url, init] as const,
          );
        await page.goto(own);
        expect([await call(), await call()]).to.deep.equal(['200 {"visits":1}', '200 {"visits":2}']);
        const json = { headers: { 'Content-Type': 'application/json' }, body: '{}' }; // asks first, by OPTIONS
        expect(await call(json)).to.equal('200 {"visits":3}');
        expect(await call({ method: 'DELETE' }, api.replace('visits', 'nothing'))).to.match(/^404 /);
        expect(await call({ credentials: 'omit' })).to.equal('200 {"visits":1}');

        await page.goto(own.replace('app', 'blog'));
        expect(await call()).to.equal('refused');
        await page.goto(own);
        expect(await call()).to.equal('200 {"visits":4}');
      });
    } finally {
      await visitor.close();
      await pages.close();
    }
  });
});
