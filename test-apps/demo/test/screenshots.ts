import { startBrowser } from 'testkit/browser';
import { APPS, openPages } from './pages.js';

// Writes a picture of each page of each app, on a phone and on a desk, light and dark: `node .test/screenshots.js FOLDER`.
const [folder = 'screenshots', ...only] = process.argv.slice(2);
const browser = await startBrowser();
for (const app of only.length > 0 ? only : Object.keys(APPS))
  for (const screen of ['phone', 'desk'] as const)
    for (const colorScheme of ['light', 'dark'] as const)
      await openPages(app, browser, { screen, colorScheme }, async (page, name) => {
        await page.screenshot({ path: `${folder}/${name}-${screen}-${colorScheme}.png` });
      });
await browser.close();
