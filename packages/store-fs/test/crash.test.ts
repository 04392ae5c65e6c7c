import { expect } from 'chai';
import { call, contentOf, newAddress, recordOf, useFolder } from './helpers.js';

/** The same, longer: `SOAK=1`. */
const soak = process.env.SOAK === '1';
const kills = soak ? 50 : 5;
const sessions = soak ? 20 : 5;
const bytes = 32 * 1024;

describe('kill -9 in a storm of writes', () => {
  const folder = useFolder();

  it(`loses nothing that was acknowledged, and damages nothing: ${kills} kills`, async function () {
    this.timeout(soak ? 600_000 : 20_000);
    const store = folder.current.store();
    const addresses = Array.from({ length: sessions }, newAddress);
    for (const address of addresses) await store.create(address, recordOf({ n: '0', filling: '' }), call());
    const files = folder.current.names;
    let leftovers = 0;

    for (let kill = 0; kill < kills; kill++) {
      const acknowledged: number[] = Array(sessions).fill(0);
      const total = 5 + Math.floor(Math.random() * 20 * sessions);
      const writer = await folder.current.other();
      await new Promise<void>((resolve) => {
        let count = 0;
        writer.process.on('message', (message: { event?: string; detail?: [number, number] }) => {
          if (message.event !== 'stored' || !message.detail) return;
          const [index, n] = message.detail;
          acknowledged[index] = n;
          if (++count === total) resolve();
        });
        writer.ask('storm', addresses, bytes).catch(() => {});
      });
      await writer.kill();
      leftovers += folder.current.names.length - files.length;

      for (const [i, address] of addresses.entries()) {
        const { n, filling } = contentOf(await store.load(address, call())) as { n: string; filling: string };
        // The one after the last acknowledged may have been stored, and not been reported any more.
        expect(Number(n)).to.be.within(acknowledged[i] as number, (acknowledged[i] as number) + 1);
        if (n !== '0') expect(filling).to.equal(String.fromCharCode(97 + (Number(n) % 26)).repeat(bytes));
      }
      await store.sweep();
      expect(folder.current.names).to.deep.equal(files);
      for (const address of addresses) await store.destroy(address, call());
      for (const address of addresses) await store.create(address, recordOf({ n: '0', filling: '' }), call());
    }
    expect(leftovers, 'kills that hit a write').to.be.greaterThan(0);
  });
});
