import { fileURLToPath } from 'node:url';
import { MemoryStore } from 'koa-wsession/memory';
import { createLogin, TIMEOUTS } from 'login';
import { newVisitor, serveSecurely, startBrowser } from 'testkit/browser';

// Writes the pictures of the README: each page on a phone and on a desk, light and dark.
const folder = fileURLToPath(new URL('../screenshots', import.meta.url));
const app = await createLogin(new MemoryStore({ secure: true, expire: TIMEOUTS.idle }), 'the memory of this process');
const PHONE = 'Mozilla/5.0 (Linux; Android 15; Mobile; rv:140.0) Gecko/140.0 Firefox/140.0';
const server = await serveSecurely(app.callback());
const browser = await startBrowser();
const origin = `https://login.test:${server.port}`;

for (const screen of ['phone', 'desk'] as const) {
  for (const colorScheme of ['light', 'dark'] as const) {
    const visitor = await newVisitor(browser, { screen, colorScheme });
    if (screen === 'phone') await visitor.setExtraHTTPHeaders({ 'user-agent': PHONE });
    const page = await visitor.newPage();
    await page.clock.install();
    const shoot = (what: string) => page.screenshot({ path: `${folder}/${what}-${screen}-${colorScheme}.png` });
    await page.goto(`${origin}/login`);
    await shoot('login');
    await page.getByLabel('Name').fill('ada');
    await page.getByLabel('Password').fill('analytical engine');
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByText('Welcome').waitFor();
    await page.clock.fastForward((TIMEOUTS.idle - 42) * 1000);
    await shoot('warning');
    await page.getByRole('button', { name: 'Stay logged in' }).click();
    await page.getByRole('link', { name: 'Devices' }).click();
    await page.getByText('this device').waitFor();
    await shoot('devices');
    // The session stays, so that the next visitor has another device in the list.
    await visitor.close();
  }
}
await browser.close();
await server.close();
