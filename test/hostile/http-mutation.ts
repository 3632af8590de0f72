/**
 * HTTP requests that go wrong somewhere: path, query, headers, framing, or the JSON of the body. Half of them are nearly right, so that what
 * lies behind fastify is reached too. Neighbours: byte-mutation.ts; served.test.ts sends them.
 */
import { mutateBytes } from './byte-mutation.ts'
import type { Dice } from './dice.ts'

const pathParts = [
  'carts',
  'customer-17850',
  'a%2Fb',
  '%2e%2e',
  '..',
  '.',
  '%00',
  '%',
  '%zz',
  '%C3%28',
  '%ED%A0%80',
  '',
  '__playheads',
  '__proto__',
  'x'.repeat(1_025),
  '%C3%BC'.repeat(600),
  'y'.repeat(5_000),
]
const queries = [
  '',
  '',
  '?expectedVersion=none',
  '?expectedVersion=0',
  '?expectedVersion=-1',
  '?expectedVersion=9007199254740993',
  '?expectedVersion=any&expectedVersion=1',
  '?expectedVersion',
  '?limit=1',
  '?limit=10001',
  '?limit=1e3',
  '?from=9007199254740991',
  '?from=99999999999999999999',
  '?backwards=true&limit=3',
  '?asOf=2011-06-01',
  '?asOf=-271821-04-21',
  '?asOf=999999999999999999',
  '?knownAt=now',
  '?__proto__=1',
  '?a[b]=c&a[b][c]=d',
  `?${'a=1&'.repeat(2_000)}`,
]
const bodies = [
  '{"type":"ItemAdded","data":{"sku":"85123A","quantity":6}}',
  '[{"type":"ItemAdded"},{"type":"ItemRemoved","tags":["gift"],"metadata":{"by":"web"}}]',
  '{"type":"ItemAdded","id":"01890a5d-ac96-774b-bcce-b302099a8057","timestamp":"2011-06-01T00:00:00Z"}',
  '{"type":"Note","contentType":"text/plain","data":"words"}',
  '[]',
  '{}',
  '[[]]',
  'null',
  '"text"',
  '1e999',
  '{"type":"\\ud800"}',
  '{"type":"A","data":1e400}',
  '{"type":"A","type":"B"}',
  '{"__proto__":{"type":"A"}}',
  '{"constructor":{"prototype":{"type":"A"}}}',
  '{"type":"A","timestamp":1e308}',
  '{"type":"A","timestamp":-4500000000000001}',
  '{"type":"A","tags":[1,null,{}]}',
  '{"type":"A","metadata":{"type":"B"}}',
  '{"type":"","data":null}',
  `{"type":"A","data":${'['.repeat(1_001)}${']'.repeat(1_001)}}`,
  `{"type":"A","data":${'['.repeat(20_000)}`,
  `{"type":"${'A'.repeat(257)}"}`,
  `[${'{"type":"A"},'.repeat(300)}{"type":"A"}]`,
  '{"specversion":"1.0","id":"a-1","source":"/shop","type":"shop.paid","subject":"order-7","data":{"pence":5}}',
  '[{"specversion":"1.0","id":"a-2","source":"/shop","type":"shop.seen","data_base64":"AAEC"}]',
]
const extraHeaders = [
  '',
  '',
  'Expect: 100-continue\r\n',
  'Content-Encoding: gzip\r\n',
  'Accept: x\r\n',
  'Host: elsewhere\r\n',
  `X-Long: ${'x'.repeat(20_000)}\r\n`,
  'X-\u0001: x\r\n',
  'Idempotency-Key: once\r\n',
  'Idempotency-Key:\r\n',
  'Upgrade: websocket\r\nConnection: Upgrade\r\n',
]
const types = [
  'application/json',
  'application/json',
  'application/json',
  'text/plain',
  'application/json; charset=x',
  'application/cloudevents+json',
  'Application/CloudEvents-Batch+JSON; charset=utf-8',
  '/',
]
const methods = ['POST', 'POST', 'POST', 'GET', 'GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE']
const targets = ['/healthz', '/readyz', '/metrics', '/', '/api', '/api/topics', '*', 'http://elsewhere/healthz', '//']

/** The bytes of one request. `last`: the connection is to be closed behind it. */
export function httpRequest(dice: Dice, last: boolean): Buffer {
  const isPost = dice.oneIn(2)
  const isOdd = dice.oneIn(2)
  const method = isOdd ? dice.pick(methods) : isPost ? 'POST' : 'GET'
  const target = dice.oneIn(10) ? dice.pick(targets) : `/api/topics/${part(dice, 'carts')}/streams/${part(dice, 's')}`
  const mayHaveBody = method === 'POST' || method === 'PUT' || method === 'PATCH'
  const hasBody = mayHaveBody && !dice.oneIn(50) // without one nothing says of what type it is either
  const body = hasBody ? bodyOf(dice) : Buffer.alloc(0)
  const lines = [
    `${method} ${target}${dice.oneIn(3) ? dice.pick(queries) : ''} HTTP/1.1`,
    'Host: localhost',
    ...(hasBody ? [`Content-Type: ${isOdd ? dice.pick(types) : types[0]}`, `Content-Length: ${body.length}`] : []),
    `Connection: ${last ? 'close' : 'keep-alive'}`,
  ]
  const head = Buffer.from(`${lines.join('\r\n')}\r\n${dice.oneIn(12) ? dice.pick(extraHeaders) : ''}\r\n`, 'latin1')
  const request = Buffer.concat([head, body])
  // Framing that lies: whatever comes behind it on this connection is read as something else.
  return dice.oneIn(100) ? mutateBytes(request, dice) : request
}

function part(dice: Dice, usual: string): string {
  return dice.oneIn(4) ? dice.pick(pathParts) : `${usual}${usual === 's' ? dice.below(20) : ''}`
}

function bodyOf(dice: Dice): Buffer {
  if (dice.oneIn(3)) return Buffer.from(bodies[0]!)
  const body = Buffer.from(dice.pick(bodies))
  return dice.oneIn(2) ? body : mutateBytes(body, dice, [Buffer.from(dice.pick(bodies))])
}

export interface HttpAnswer {
  readonly status: number
  readonly body: string
}

const lastChunk = '0\r\n\r\n'

/** The answers on one connection, up to the first that is not whole. */
export function splitAnswers(bytes: Buffer): HttpAnswer[] {
  const answers: HttpAnswer[] = []
  for (let at = 0; at < bytes.length; ) {
    const headEnd = bytes.indexOf('\r\n\r\n', at)
    if (headEnd < 0) return answers
    const head = bytes.toString('latin1', at, headEnd)
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
    if (!Number.isFinite(status)) {
      const before = bytes.toString('latin1', Math.max(0, at - 400), at)
      throw new Error(`found ${head.slice(0, 200)}, wanted an answer of HTTP, behind ${before}`)
    }
    const start = headEnd + 4
    // Node itself refuses an Expect that it does not know (417) so, with no body.
    const isChunked = /^transfer-encoding: chunked$/im.test(head)
    const length = isChunked ? lastChunk.length : Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
    // The answer to HEAD tells a length and has no body.
    const end = bytes.toString('latin1', start, start + 5) === 'HTTP/' ? start : start + length
    answers.push({ status, body: bytes.toString('utf8', start, end) })
    at = end
  }
  return answers
}
