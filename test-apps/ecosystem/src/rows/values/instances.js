import { expect } from 'chai';

/** Instances that apps put into a session, or would like to. */
const VALUES = {
  mongoose: async () => {
    const { default: mongoose } = await import('mongoose');
    const User = mongoose.models.User ?? mongoose.model('User', new mongoose.Schema({ name: String }));
    const user = new User({ name: 'ada' });
    return { id: user._id, row: user };
  },
  sequelize: async () => {
    const { DataTypes, Sequelize } = await import('sequelize');
    const database = new Sequelize({ dialect: 'postgres', dialectModule: {}, logging: false });
    const User = database.define('User', { id: { type: DataTypes.INTEGER, primaryKey: true }, name: DataTypes.STRING });
    return { row: User.build({ id: 1, name: 'ada' }) };
  },
  typeorm: async () => {
    const { BaseEntity } = await import('typeorm');
    class User extends BaseEntity {}
    return { row: Object.assign(new User(), { id: 1, name: 'ada' }) };
  },
  bson: async () => {
    const { Decimal128, Long, ObjectId } = await import('bson');
    return { id: new ObjectId(), long: Long.fromNumber(7), price: Decimal128.fromString('1.50') };
  },
  'decimal.js': async () => {
    const { Decimal } = await import('decimal.js');
    return { price: new Decimal('1.50') };
  },
  dayjs: async () => {
    const { default: dayjs } = await import('dayjs');
    return { at: dayjs('2020-01-02T03:04:05Z') };
  },
  luxon: async () => {
    const { DateTime, Duration } = await import('luxon');
    return { at: DateTime.fromISO('2020-01-02T03:04:05Z'), during: Duration.fromISO('PT1H') };
  },
  URL: async () => ({ at: new URL('https://shop.example/cart?item=1') }),
};

/**
 * By default each is an error at the assignment that names the class and the way out; deeper inside, one before the
 * response. With `classInstances: 'json'` each is stored as koa-session stores it: as JSON.
 */
export default async function instances(trial, name) {
  const values = await VALUES[name]();
  if (trial.isOurs) await visitStrict(trial, values);

  const visitor = await trial.visit(makeApp(trial, values, { classInstances: 'json' }));
  for (const [key, value] of Object.entries(values)) {
    expect((await visitor.get(`/put/${key}`)).status).to.equal(200);
    expect((await visitor.get(`/wrap/${key}`)).status).to.equal(200);
    const asJson = JSON.parse(JSON.stringify(value));
    expect(await visitor.json(`/get/${key}`), key).to.deep.equal({ value: asJson, wrapped: [{ value: asJson }] });
  }
}

async function visitStrict(trial, values) {
  const visitor = await trial.visit(makeApp(trial, values));
  for (const key of Object.keys(values)) {
    for (const path of [`/put/${key}`, `/wrap/${key}`]) {
      expect((await visitor.get(path)).status, path).to.equal(500);
      const { code, message, stack } = trial.errors.pop();
      expect(code).to.equal('WSESSION_VALUE');
      expect(message).to.match(/^session\.\w+(\[0\]\.value)? is an instance of \S+,/);
      expect(message).to.contain(
        'store a plain value instead, such as String(value) for an id or { ...value } for a row',
      );
      if (path.startsWith('/put')) expect(stack, 'where it was assigned').to.contain('instances.js');
    }
    expect(await visitor.json(`/get/${key}`), 'nothing was stored').to.deep.equal({});
  }
  for (const [key, value] of Object.entries(values)) {
    expect((await visitor.get(`/text/${key}`)).status).to.equal(200);
    expect(await visitor.json(`/get/${key}`)).to.deep.equal({ value: String(value) });
  }
}

function makeApp(trial, values, options) {
  const app = trial.app(options);
  app.use((ctx) => {
    const [, action, key] = ctx.path.split('/');
    const value = values[key];
    if (action === 'put') ctx.session.value = value;
    if (action === 'wrap') ctx.session.wrapped = [{ value }];
    if (action === 'text') ctx.session.value = String(value);
    const { value: stored, wrapped } = ctx.session;
    ctx.body = action === 'get' ? { value: stored, wrapped } : 'ok';
  });
  return app;
}
