import { fileURLToPath } from 'node:url';
import { createCart } from 'cart';
import { MemoryStore } from 'koa-wsession/memory';
import { newVisitor, serveSecurely, startBrowser } from 'testkit/browser';

// Writes the pictures of the README.
const folder = fileURLToPath(new URL('../screenshots', import.meta.url));
const app = createCart(new MemoryStore({ secure: true }), 'the memory of this process');
const server = await serveSecurely(app.callback());
const browser = await startBrowser();

for (const [screen, colorScheme] of [
  ['desk', 'light'],
  ['phone', 'dark'],
] as const) {
  const visitor = await newVisitor(browser, { screen, colorScheme });
  const page = await visitor.newPage();
  await page.goto(`https://shop.test:${server.port}/`);
  for (const name of ['Add Pencil', 'Add Pencil', 'Add Desk lamp']) await page.getByRole('button', { name }).click();
  await page.getByText('€ 41.40').waitFor();
  await page.screenshot({ path: `${folder}/cart-${screen}-${colorScheme}.png` });
  await visitor.close();
}
await browser.close();
await server.close();
