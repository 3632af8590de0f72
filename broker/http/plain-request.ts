/**
 * PlainRequest: the one request that the quick lane takes: an append of one event whose bytes have come whole, in the plainest form there is.
 * Invariant: whatever is not exactly that is undefined here, and goes to Node's parser as it came: bytes that two parsers could read differently are
 * never read by this one. So: one request and nothing behind it, one version of the protocol, known headers once each and no others, a length
 * in digits that is that of the body, no control characters.
 */
export interface PlainRequest {
  readonly topic: string
  /** Decoded. */
  readonly stream: string
  readonly expectedVersion: string | undefined
  readonly body: string
  /** Of the request, without its first line and its body: the same from one request to the next, mostly. */
  readonly headers: PlainHeaders
}

interface PlainHeaders {
  readonly text: string
  readonly host: string
  readonly bodyBytes: number
}

const headBytesMax = 2_048
const requestBytesMax = 64 * 1024
const firstLine =
  /^POST \/api\/topics\/([A-Za-z0-9._-]{1,249})\/streams\/([A-Za-z0-9._~!$&'()*+,;=:@%-]{1,1500})(?:\?expectedVersion=([a-z0-9]{1,16}))? HTTP\/1\.1$/
const headerLine = /^([A-Za-z-]{1,32}): ?([\x21-\x7e](?:[\x20-\x7e]{0,500}[\x21-\x7e])?)$/
/** A value that must be, or undefined = any: what changes nothing about how the request is answered. */
const knownHeaders: Readonly<Record<string, RegExp | undefined>> = {
  host: undefined,
  'user-agent': undefined,
  accept: /^(\*\/\*|application\/json)$/,
  'accept-encoding': undefined,
  'accept-language': undefined,
  connection: /^keep-alive$/i,
  'content-type': /^application\/json(; ?charset=utf-8)?$/i,
  'content-length': /^[1-9]\d{0,5}$/,
}
/** What a JSON parser must refuse or take apart to be safe is the other one's to do. */
const dangerousKeys = /__proto__|constructor|\\u/

/** `before`: the headers of the request before on the same connection. */
export function plainRequest(bytes: Buffer, before: PlainHeaders | undefined): PlainRequest | undefined {
  if (bytes.length > requestBytesMax) return undefined
  const headBytes = bytes.indexOf('\r\n\r\n')
  if (headBytes < 0 || headBytes > headBytesMax) return undefined
  const head = bytes.toString('latin1', 0, headBytes)
  const lineEnd = head.indexOf('\r\n')
  const match = firstLine.exec(lineEnd < 0 ? head : head.slice(0, lineEnd))
  if (match === null) return undefined
  const text = lineEnd < 0 ? '' : head.slice(lineEnd + 2)
  const headers = before?.text === text ? before : plainHeaders(text)
  if (headers === undefined || headers.bodyBytes !== bytes.length - headBytes - 4) return undefined
  const stream = decoded(match[2] ?? '')
  const body = bytes.toString('utf8', headBytes + 4)
  if (stream === undefined || dangerousKeys.test(body) || body.includes('\ufffd')) return undefined
  return { topic: match[1] ?? '', stream, expectedVersion: match[3], body, headers }
}

function plainHeaders(text: string): PlainHeaders | undefined {
  const values = new Map<string, string>()
  for (const line of text.split('\r\n')) {
    const [, name = '', value = ''] = headerLine.exec(line) ?? []
    const key = name.toLowerCase()
    if (!Object.hasOwn(knownHeaders, key) || values.has(key)) return undefined
    if (knownHeaders[key]?.test(value) === false) return undefined
    values.set(key, value)
  }
  const host = values.get('host')
  if (host === undefined || !values.has('content-type') || !values.has('content-length')) return undefined
  return { text, host, bodyBytes: Number(values.get('content-length')) }
}

function decoded(part: string): string | undefined {
  if (!part.includes('%')) return part
  try {
    return decodeURIComponent(part)
  } catch {
    return undefined
  }
}
