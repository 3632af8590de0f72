/**
 * FaultServer: an S3 server in this process that goes wrong by a seed: 500 and 503, an answer that never comes although the request took effect, bodies
 * that come slowly or end early, wrong bytes, objects that are seen late, If-None-Match ignored. It keeps objects in memory and checks no signatures.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'

/** Each a chance from 0 to 1 per request. */
export interface Faults {
  /** Refuses before anything happens. */
  readonly refuse: number
  /** Does it and then says 500, or cuts the connection. */
  readonly loseAnswer: number
  readonly cutBody: number
  readonly slowBody: number
  readonly wrongBytes: number
  /** A new object is seen after some more requests only. */
  readonly late: number
  readonly ignoreIfNoneMatch: boolean
}

export const noFaults: Faults = {
  refuse: 0,
  loseAnswer: 0,
  cutBody: 0,
  slowBody: 0,
  wrongBytes: 0,
  late: 0,
  ignoreIfNoneMatch: false,
}

interface Stored {
  readonly bytes: Buffer
  /** Requests from now on that do not see it. */
  hiddenFor: number
}

const lateRequestsMax = 4

export class FaultServer implements AsyncDisposable {
  faults: Faults
  readonly objects = new Map<string, Stored>()
  readonly counts: Record<string, number> = {}
  /** Numbers of the parts that were taken, in order. */
  readonly parts: number[] = []
  refusesPartsFrom = Infinity
  readonly #server: Server
  readonly #random: () => number
  readonly #uploads = new Map<string, Map<number, Buffer>>()

  private constructor(random: () => number, faults: Faults) {
    this.#random = random
    this.faults = faults
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  static async start(random: () => number, faults: Faults): Promise<FaultServer> {
    const server = new FaultServer(random, faults)
    server.#server.listen(0, '127.0.0.1')
    await once(server.#server, 'listening')
    process.env['AWS_ACCESS_KEY_ID'] = 'any'
    process.env['AWS_SECRET_ACCESS_KEY'] = 'any'
    return server
  }

  /** Of a tier. */
  location(bucket: string): string {
    const address = this.#server.address()
    const port = address !== null && typeof address === 'object' ? address.port : 0
    return `s3://${bucket}/?endpoint=http://127.0.0.1:${port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #chance(name: keyof Faults): boolean {
    const isSo = this.#random() < Number(this.faults[name])
    if (isSo) this.counts[name] = (this.counts[name] ?? 0) + 1
    return isSo
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = []
    try {
      for await (const part of request) parts.push(part as Buffer)
    } catch {
      return
    }
    if (this.#chance('refuse')) return end(response, this.#random() < 0.5 ? 500 : 503, error('SlowDown'))
    const url = new URL(request.url ?? '/', 'http://s3')
    const key = decodeURIComponent(url.pathname).slice(1)
    const body = Buffer.concat(parts)
    if (request.method === 'GET' && url.searchParams.get('list-type') === '2') return this.#list(url, key, response)
    const listed = request.method === 'GET' ? url.searchParams.get('uploadId') : null
    if (listed !== null) return this.#listParts(listed, response)
    if (request.method === 'GET' || request.method === 'HEAD') return this.#read(request, key, response)
    const [status, text, headers] = this.#change(request, url, key, body)
    if (!this.#chance('loseAnswer')) return end(response, status, text, headers)
    if (this.#random() < 0.5) end(response, 500, error('InternalError'))
    else request.socket.destroy()
  }

  #change(request: IncomingMessage, url: URL, key: string, body: Buffer): [number, string, Record<string, string>?] {
    const upload = url.searchParams.get('uploadId')
    if (request.method === 'DELETE') {
      if (upload === null) this.objects.delete(key)
      else this.#uploads.delete(upload)
      return [204, '']
    }
    if (request.method === 'POST' && url.searchParams.has('uploads')) {
      const id = `upload-${this.#uploads.size}-${Math.floor(this.#random() * 1e9)}`
      this.#uploads.set(id, new Map())
      return [200, `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`]
    }
    if (upload !== null) {
      const sent = this.#uploads.get(upload)
      if (sent === undefined) return [404, error('NoSuchUpload')]
      if (request.method === 'PUT') {
        const part = Number(url.searchParams.get('partNumber'))
        if (part >= this.refusesPartsFrom) return [503, error('SlowDown')]
        this.parts.push(part)
        sent.set(part, body)
        return [200, '', { etag: '"part"' }]
      }
      const inOrder = [...sent].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes)
      this.#store(key, Buffer.concat(inOrder))
      this.#uploads.delete(upload)
      return [200, '<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>']
    }
    if (request.headers['if-none-match'] === '*' && this.objects.has(key) && !this.faults.ignoreIfNoneMatch)
      return [412, error('PreconditionFailed')]
    this.#store(key, body)
    return [200, '', { etag: '"whole"' }]
  }

  #listParts(upload: string, response: ServerResponse): void {
    const sent = this.#uploads.get(upload)
    if (sent === undefined) return end(response, 404, error('NoSuchUpload'))
    const rows = [...sent].map(
      ([number, { length }]) =>
        `<Part><PartNumber>${number}</PartNumber><ETag>"part"</ETag><Size>${length}</Size></Part>`,
    )
    end(response, 200, `<ListPartsResult><IsTruncated>false</IsTruncated>${rows.join('')}</ListPartsResult>`)
  }

  #store(key: string, bytes: Buffer): void {
    const hiddenFor = this.#chance('late') ? 1 + Math.floor(this.#random() * lateRequestsMax) : 0
    this.objects.set(key, { bytes, hiddenFor })
  }

  #seen(key: string): Buffer | undefined {
    const stored = this.objects.get(key)
    if (stored === undefined) return undefined
    if (stored.hiddenFor === 0) return stored.bytes
    stored.hiddenFor--
    return undefined
  }

  #read(request: IncomingMessage, key: string, response: ServerResponse): void {
    const bytes = this.#seen(key)
    if (bytes === undefined) return end(response, 404, request.method === 'HEAD' ? '' : error('NoSuchKey'))
    if (request.method === 'HEAD') {
      response.writeHead(200, { 'content-length': bytes.length }).end()
      return
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
    const from = range === null ? 0 : Number(range[1])
    const to = range === null ? bytes.length : Math.min(Number(range[2]) + 1, bytes.length)
    if (range !== null && from >= bytes.length) return end(response, 416, error('InvalidRange'))
    let part = Buffer.from(bytes.subarray(from, to))
    if (part.length > 0 && this.#chance('wrongBytes')) part[Math.floor(this.#random() * part.length)]! ^= 0x40
    const headers = { 'content-length': part.length, 'content-range': `bytes ${from}-${to - 1}/${bytes.length}` }
    response.writeHead(range === null ? 200 : 206, headers)
    if (part.length > 1 && this.#chance('cutBody')) {
      part = part.subarray(0, part.length >> 1)
      response.write(part, () => request.socket.destroy())
      return
    }
    if (part.length > 1 && this.#chance('slowBody')) {
      response.write(part.subarray(0, part.length >> 1))
      setTimeout(() => response.end(part.subarray(part.length >> 1)), 20)
      return
    }
    response.end(part)
  }

  #list(url: URL, bucket: string, response: ServerResponse): void {
    const prefix = `${bucket.replace(/\/$/, '')}/${url.searchParams.get('prefix') ?? ''}`
    const found = [...this.objects].filter(([key, { hiddenFor }]) => key.startsWith(prefix) && hiddenFor === 0)
    const rows = found
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, { bytes }]) => {
        const inBucket = key.slice(bucket.replace(/\/$/, '').length + 1)
        return `<Contents><Key>${inBucket}</Key><Size>${bytes.length}</Size></Contents>`
      })
    end(response, 200, `<ListBucketResult><IsTruncated>false</IsTruncated>${rows.join('')}</ListBucketResult>`)
  }
}

function end(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}): void {
  const type = { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(text) }
  response.writeHead(status, { ...type, ...headers }).end(text)
}

function error(code: string): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`
}
