/* What a client says to a server, message by message, however the stream is cut. */

/** Calls `onCommand` at the end of each command in a stream of bytes to Redis: `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`. */
export function commandCounter(onCommand) {
  let line = '';
  let argumentsLeft = 0;
  let bytesLeft = 0;
  return (bytes) => {
    let at = 0;
    while (at < bytes.length) {
      if (bytesLeft > 0) {
        const skipped = Math.min(bytesLeft, bytes.length - at);
        at += skipped;
        bytesLeft -= skipped;
        if (bytesLeft === 0 && argumentsLeft === 0) onCommand();
        continue;
      }
      const end = bytes.indexOf('\n', at);
      line += bytes.latin1Slice(at, end < 0 ? undefined : end);
      if (end < 0) return;
      at = end + 1;
      const number = Number(line.slice(1));
      if (line.startsWith('*')) {
        argumentsLeft = number;
      } else if (line.startsWith('$')) {
        argumentsLeft -= 1;
        bytesLeft = number + 2;
      } else {
        throw new Error(`Not the protocol of Redis: ${JSON.stringify(line)}`);
      }
      line = '';
    }
  };
}

const SSL_REQUEST = 80_877_103;

/**
 * Calls `onQuery` for each query in a stream of bytes to Postgres. After the first message, each is a letter, a length and a
 * body; `E` (Execute) and `Q` (a simple query) have the server run something.
 */
export function queryCounter(onQuery) {
  let rest = Buffer.alloc(0);
  let hasBegun = false;
  let bytesLeft = 0;
  return (bytes) => {
    const skipped = Math.min(bytesLeft, bytes.length);
    bytesLeft -= skipped;
    rest = Buffer.concat([rest, bytes.subarray(skipped)]);
    for (;;) {
      const head = hasBegun ? 1 : 0;
      if (rest.length < head + (hasBegun ? 4 : 8)) return;
      const length = head + rest.readUInt32BE(head);
      if (hasBegun && /[EQ]/.test(String.fromCharCode(rest[0]))) onQuery();
      hasBegun ||= rest.readUInt32BE(4) !== SSL_REQUEST;
      bytesLeft = Math.max(0, length - rest.length);
      rest = rest.subarray(length);
    }
  };
}
