import { Writable } from 'node:stream';
import bunyan from 'bunyan';
import { expect } from 'chai';
import { pino } from 'pino';
import winston from 'winston';
import { FILLED, withSession } from './session-in-hand.js';

const LOGGERS = {
  winston: (stream) =>
    winston.createLogger({ format: winston.format.json(), transports: [new winston.transports.Stream({ stream })] }),
  pino: (stream) => {
    const logger = pino(stream);
    return { info: (message, fields) => logger.info(fields, message) };
  },
  bunyan: (stream) => {
    const logger = bunyan.createLogger({ name: 'app', stream });
    return { info: (message, fields) => logger.info(fields, message) };
  },
};

/** A log line shows the data alone, and the session is as it was. */
export default async function loggers(trial, name) {
  const lines = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const logger = LOGGERS[name](stream);
  const stored = await withSession(trial, async (session) => {
    logger.info('a visit', { session });
    await new Promise(setImmediate);
  });
  expect(JSON.parse(lines.join('')).session).to.deep.equal(FILLED);
  expect(stored).to.deep.equal(FILLED);
}
