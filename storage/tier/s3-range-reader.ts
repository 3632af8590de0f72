/**
 * S3RangeReader: parts of objects over plain HTTP, straight into the caller's memory. Replays and cold reads of streams are made of these requests, and
 * Amazon's client takes about a millisecond of processor time for each (docs/decisions/0029); here it is a third of that.
 * Invariant: only a whole answer of the range asked for counts. Whatever else is answered says nothing here: the caller asks again through Amazon's client,
 * which knows what each refusal means, follows regions and corrects the clock.
 * Neighbours: s3-store.ts, which has the credentials and the region.
 */
import { createHash, createHmac } from 'node:crypto'
import type { Clock } from '../../platform/clock.ts'
import { HttpClient } from '../../platform/http-client.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

export interface S3Signer {
  readonly credentials: S3Credentials
  readonly region: string
  readonly nowMs: number
}

/** Of no bytes: what these requests have for a body. */
const nothingSha256 = createHash('sha256').digest('hex')
const partialContent = 206

export class S3RangeReader {
  readonly #http: HttpClient
  readonly #endpoint: string
  readonly #bucket: string
  readonly #signer: () => Promise<S3Signer>
  /** Of the newest day: the same key signs all its requests. */
  #key: { readonly of: string; readonly key: Buffer } | undefined

  /** `endpoint`: such as https://s3.example.com, without a path. */
  constructor(clock: Clock, endpoint: string, bucket: string, signer: () => Promise<S3Signer>) {
    this.#http = new HttpClient(clock, endpoint.startsWith('https:') ? {} : undefined)
    this.#endpoint = endpoint.replace(/\/$/, '')
    this.#bucket = bucket
    this.#signer = signer
  }

  /** Fills `target` with the object's bytes from `position` on; answers how many there were, undefined = not answered here. Throws HttpFailure. */
  async read(key: string, position: number, target: Buffer, waitMs: number): Promise<number | undefined> {
    const path = `/${encoded(this.#bucket)}/${key.split('/').map(encoded).join('/')}`
    const range = `bytes=${position}-${position + target.length - 1}`
    const headers = this.headers(await this.#signer(), new URL(this.#endpoint).host, path, range)
    const answer = await this.#http.readInto({ url: this.#endpoint + path, method: 'GET', headers }, target, waitMs)
    const found = /^bytes (\d+)-(\d+)\//.exec(answer.contentRange)
    if (answer.status !== partialContent || found === null || Number(found[1]) !== position) return undefined
    return Number(found[2]) + 1 - position === answer.bytes ? answer.bytes : undefined
  }

  close(): void {
    this.#http.close()
  }

  /** Signature Version 4 of a GET without parameters. */
  headers(
    { credentials, region, nowMs }: S3Signer,
    host: string,
    path: string,
    range: string,
  ): Readonly<Record<string, string>> {
    const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')
    const { accessKeyId, secretAccessKey, sessionToken } = credentials
    const signed: Record<string, string> = {
      host,
      range,
      'x-amz-content-sha256': nothingSha256,
      'x-amz-date': time,
      ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
    }
    const names = Object.keys(signed).join(';') // they are in order
    const lines = Object.entries(signed).map(([name, value]) => `${name}:${value}\n`)
    const request = ['GET', path, '', lines.join(''), names, nothingSha256].join('\n')
    const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`
    const digest = createHash('sha256').update(request).digest('hex')
    const text = ['AWS4-HMAC-SHA256', time, scope, digest].join('\n')
    const signature = hmac(this.#keyOf(secretAccessKey, scope), text).toString('hex')
    const authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
    return { ...signed, authorization }
  }

  #keyOf(secret: string, scope: string): Buffer {
    const of = `${secret}/${scope}`
    if (this.#key?.of !== of) {
      let key: Buffer = Buffer.from(`AWS4${secret}`)
      for (const part of scope.split('/')) key = hmac(key, part)
      this.#key = { of, key }
    }
    return this.#key.key
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** As Amazon wants it: everything but letters, digits and -._~ */
function encoded(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
}
