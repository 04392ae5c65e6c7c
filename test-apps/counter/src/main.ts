import { createServer } from 'node:http';

const port = Number(process.env.PORT ?? 3000);

createServer((_request, response) => {
  response.end('counter\n');
}).listen(port, () => {
  console.log(`http://localhost:${port}`);
});
