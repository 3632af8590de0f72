/** Reads of parts of objects over plain HTTP: the signature is Amazon's, and what is not the range asked for is not taken for it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { systemClock } from '../../../platform/clock.ts'
import { S3RangeReader } from '../../../storage/tier/s3-range-reader.ts'

const signer = {
  credentials: { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' },
  region: 'us-east-1',
  nowMs: Date.UTC(2013, 4, 24),
}

test('range reader: signs as in the example of Amazon’s documentation', () => {
  const reader = new S3RangeReader(systemClock, 'http://127.0.0.1', 'bucket', () => Promise.resolve(signer))
  const headers = reader.headers(signer, 'examplebucket.s3.amazonaws.com', '/test.txt', 'bytes=0-9')
  assert.match(
    headers['authorization'] ?? '',
    /Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41$/,
  )
  const withToken = reader.headers(
    { ...signer, credentials: { ...signer.credentials, sessionToken: 'token' } },
    'there',
    '/x',
    'bytes=0-9',
  )
  assert.match(
    withToken['authorization'] ?? '',
    /SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token,/,
  )
  assert.equal(withToken['x-amz-security-token'], 'token')
  reader.close()
})

test('range reader: only a whole answer of the range asked for counts', async () => {
  let answer: (response: ServerResponse) => void = () => {}
  let asked = ''
  const server = createServer((request, response) => {
    asked = `${request.url} ${request.headers.range}`
    answer(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const reader = new S3RangeReader(systemClock, `http://127.0.0.1:${port}/`, 'b', () => Promise.resolve(signer))
  const target = Buffer.alloc(8)
  const read = (status: number, contentRange: string, body: string) => {
    answer = (response) =>
      response.writeHead(status, contentRange === '' ? {} : { 'content-range': contentRange }).end(body)
    return reader.read("a/what's (new)", 4, target, 1000)
  }
  assert.equal(await read(206, 'bytes 4-11/100', 'abcdefgh'), 8)
  assert.equal(target.toString(), 'abcdefgh')
  assert.equal(asked, '/b/a/what%27s%20%28new%29 bytes=4-11')
  assert.equal(await read(206, 'bytes 4-6/7', 'abc'), 3, 'the end of the object')
  assert.equal(await read(206, 'bytes 5-12/100', 'abcdefgh'), undefined, 'another range')
  assert.equal(await read(206, 'bytes 4-11/100', 'abc'), undefined, 'less than it says')
  assert.equal(await read(200, '', 'all of the object'), undefined)
  assert.equal(await read(403, '', '<Error>RequestTimeTooSkewed</Error>'), undefined)
  answer = (response) => response.socket?.destroy()
  await assert.rejects(reader.read('a', 0, target, 1000), /closed|hang up|ECONNRESET/)
  answer = () => {}
  await assert.rejects(reader.read('a', 0, target, 50), /found no answer after 50 ms/)
  reader.close()
  server.closeAllConnections()
  server.close()
})
