/**
 * S3Store: a tier in a bucket of an S3-compatible service, over Amazon's own client (docs/decisions/0029). One request per call, none of them
 * repeated here: store-retries.ts does that for every store alike.
 * Invariants: a body that comes slower than any use for it is given up, and one that is shorter than the service said is no answer.
 * Neighbours: tier-location.ts opens it and loads the client, which a broker without such a tier never does.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import type { Clock } from '../../platform/clock.ts'
import { HttpFailure } from '../../platform/http-client.ts'
import { tierRefused, tierUnavailable } from './object-store.ts'
import type { ObjectFound, ObjectStore, ObjectUpload, ResumedUpload } from './object-store.ts'
import { S3RangeReader } from './s3-range-reader.ts'

export interface S3Place {
  readonly bucket: string
  /** Before every key; empty, or ends with '/'. */
  readonly prefix: string
  /** Undefined = Amazon's own. */
  readonly endpoint: string | undefined
  /** Undefined = as the environment says. */
  readonly region: string | undefined
  /** Whether an object may be refused because there is one; false = this store would replace it. */
  readonly conditional: boolean
}

/** A request may take this long, and longer by its bytes. */
const requestMsMax = 10_000
const bytesPerMsMin = 1024

export class S3Store implements ObjectStore {
  readonly location: string
  readonly #place: S3Place
  readonly #clock: Clock
  readonly #client: S3Client
  /** Undefined at Amazon's own, which has its ways of naming buckets; there the network takes longer than the client. */
  readonly #ranges: S3RangeReader | undefined

  constructor(place: S3Place, clock: Clock) {
    this.#place = place
    this.#clock = clock
    this.location = `s3://${place.bucket}/${place.prefix}${place.endpoint === undefined ? '' : ` at ${place.endpoint}`}`
    this.#client = new S3Client({
      ...(place.region !== undefined && { region: place.region }),
      maxAttempts: 1,
      // Other services than Amazon's know only the older checksums; ours go over every byte anyway.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(place.endpoint !== undefined && { endpoint: place.endpoint, forcePathStyle: true }),
    })
    const { config } = this.#client
    const signer = async () => ({
      credentials: await config.credentials(),
      region: await config.region(),
      nowMs: clock.now() + config.systemClockOffset,
    })
    if (place.endpoint !== undefined) this.#ranges = new S3RangeReader(clock, place.endpoint, place.bucket, signer)
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    await this.#ask(bytes.length, (abortSignal) =>
      this.#client.send(new PutObjectCommand({ ...this.#at(key), Body: bytes }), { abortSignal }),
    )
  }

  async putIfAbsent(key: string, bytes: Buffer): Promise<'stored' | 'exists'> {
    if (!this.#place.conditional) {
      if ((await this.sizeBytes(key)) !== undefined) return 'exists'
      await this.put(key, bytes)
      return 'stored'
    }
    const command = new PutObjectCommand({ ...this.#at(key), Body: bytes, IfNoneMatch: '*' })
    try {
      await this.#ask(bytes.length, (abortSignal) => this.#client.send(command, { abortSignal }))
      return 'stored'
    } catch (error) {
      if (error instanceof Refused && error.status === 412) return 'exists'
      throw error
    }
  }

  async beginUpload(key: string): Promise<ObjectUpload> {
    const at = this.#at(key)
    const { UploadId } = await this.#ask(0, (abortSignal) =>
      this.#client.send(new CreateMultipartUploadCommand(at), { abortSignal }),
    )
    return this.#upload(at, UploadId, new Map())
  }

  async resumeUpload(key: string, token: string): Promise<ResumedUpload | undefined> {
    const at = this.#at(key)
    const etags = new Map<number, string | undefined>()
    const parts = new Map<number, number>()
    let PartNumberMarker: string | undefined
    do {
      const command = new ListPartsCommand({ ...at, UploadId: token, PartNumberMarker })
      const page = await this.#found(0, (abortSignal) => this.#client.send(command, { abortSignal }))
      if (page === undefined) return undefined
      for (const { PartNumber, ETag, Size } of page.Parts ?? []) {
        if (PartNumber === undefined) continue
        etags.set(PartNumber, ETag)
        parts.set(PartNumber, Size ?? 0)
      }
      PartNumberMarker = page.IsTruncated === true ? page.NextPartNumberMarker : undefined
    } while (PartNumberMarker !== undefined)
    return { upload: this.#upload(at, token, etags), parts }
  }

  #upload(
    at: { Bucket: string; Key: string },
    UploadId: string | undefined,
    parts: Map<number, string | undefined>,
  ): ObjectUpload {
    return {
      token: UploadId,
      part: async (number, bytes) => {
        const command = new UploadPartCommand({ ...at, UploadId, PartNumber: number, Body: bytes })
        const { ETag } = await this.#ask(bytes.length, (abortSignal) => this.#client.send(command, { abortSignal }))
        parts.set(number, ETag)
      },
      complete: async () => {
        const Parts = [...parts].toSorted(([a], [b]) => a - b).map(([PartNumber, ETag]) => ({ PartNumber, ETag }))
        const command = new CompleteMultipartUploadCommand({ ...at, UploadId, MultipartUpload: { Parts } })
        try {
          await this.#ask(0, (abortSignal) => this.#client.send(command, { abortSignal }))
        } catch (error) {
          // Asked a second time, because the first answer was lost: whether all is there is seen by whoever reads it back.
          if (!(error instanceof Refused && error.name === 'NoSuchUpload')) throw error
        }
      },
      abort: async () => {
        const command = new AbortMultipartUploadCommand({ ...at, UploadId })
        await this.#found(0, (abortSignal) => this.#client.send(command, { abortSignal }))
      },
    }
  }

  async read(key: string, position: number, target: Buffer): Promise<number | undefined> {
    if (target.length === 0) return 0
    const found = await this.#readRange(key, position, target)
    if (found !== undefined) return found
    const command = new GetObjectCommand({
      ...this.#at(key),
      Range: `bytes=${position}-${position + target.length - 1}`,
    })
    try {
      return await this.#found(target.length, async (abortSignal) => {
        const answer = await this.#client.send(command, { abortSignal })
        const range = /^bytes (\d+)-/.exec(answer.ContentRange ?? '')
        if (range === null || Number(range[1]) !== position)
          throw new Error('an answer that is not the range asked for')
        return fill(target, answer)
      })
    } catch (error) {
      if (error instanceof Refused && error.status === 416) return 0
      throw error
    }
  }

  async #readRange(key: string, position: number, target: Buffer): Promise<number | undefined> {
    try {
      return await this.#ranges?.read(this.#at(key).Key, position, target, waitMsOf(target.length))
    } catch (error) {
      if (error instanceof HttpFailure) throw tierUnavailable(this.location, error.message)
      throw this.#failure(error)
    }
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#found(1024 * 1024, async (abortSignal) => {
      const answer = await this.#client.send(new GetObjectCommand(this.#at(key)), { abortSignal })
      const bytes = Buffer.allocUnsafeSlow(answer.ContentLength ?? 0)
      return bytes.subarray(0, await fill(bytes, answer))
    })
  }

  sizeBytes(key: string): Promise<number | undefined> {
    return this.#found(0, async (abortSignal) => {
      const { ContentLength } = await this.#client.send(new HeadObjectCommand(this.#at(key)), { abortSignal })
      return ContentLength
    })
  }

  async *list(prefix: string): AsyncGenerator<ObjectFound> {
    const { bucket, prefix: before } = this.#place
    let ContinuationToken: string | undefined
    do {
      const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: before + prefix, ContinuationToken })
      const page = await this.#ask(0, (abortSignal) => this.#client.send(command, { abortSignal }))
      for (const { Key, Size } of page.Contents ?? [])
        if (Key !== undefined) yield { key: Key.slice(before.length), sizeBytes: Size ?? 0 }
      ContinuationToken = page.NextContinuationToken
    } while (ContinuationToken !== undefined)
  }

  async remove(key: string): Promise<void> {
    await this.#found(0, (abortSignal) => this.#client.send(new DeleteObjectCommand(this.#at(key)), { abortSignal }))
  }

  removeUnfinished(): Promise<number> {
    return Promise.resolve(0)
  }

  close(): Promise<void> {
    this.#ranges?.close()
    this.#client.destroy()
    return Promise.resolve()
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#place.bucket, Key: this.#place.prefix + key }
  }

  /** As #ask; undefined when the object is not there. */
  async #found<T>(bytes: number, ask: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.#ask(bytes, ask)
    } catch (error) {
      if (error instanceof Refused && error.status === 404 && error.name !== 'NoSuchBucket') return undefined
      throw error
    }
  }

  async #ask<T>(bytes: number, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController()
    const waitMs = waitMsOf(bytes)
    const timer = this.#clock.after(waitMs, () => controller.abort())
    try {
      return await ask(controller.signal)
    } catch (error) {
      if (controller.signal.aborted) throw tierUnavailable(this.location, `no whole answer within ${waitMs} ms`)
      throw this.#failure(error)
    } finally {
      timer.cancel()
    }
  }

  #failure(error: unknown): Error {
    const { location } = this
    const { name, message, status } = factsOf(error)
    if (name === 'CredentialsProviderError')
      return tierRefused(
        location,
        `no credentials (${message})`,
        'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, a profile in ~/.aws, or a role of the machine',
      )
    if (name === 'NoSuchBucket')
      return tierRefused(location, 'no such bucket', 'one that is there: create it, or correct the name')
    if (name === 'RequestTimeTooSkewed')
      return tierUnavailable(location, 'that the clock of this machine is wrong by more than the store takes: set it')
    if (status === 401 || status === 403)
      return tierRefused(location, `${name} (${message})`, 'credentials that may read, write, list and delete there')
    if (status === 301 || status === 400)
      return tierRefused(location, `${name} (${message})`, 'the region and the endpoint of the bucket')
    if (status === 404 || status === 412 || status === 416) return new Refused(name, status, message)
    if (status === 409) return tierUnavailable(location, `another request for the same object under way (${message})`)
    return tierUnavailable(location, status === undefined ? `${name}: ${message}` : `status ${status} (${message})`)
  }
}

function waitMsOf(bytes: number): number {
  return requestMsMax + bytes / bytesPerMsMin
}

/** An answer that some request asks for. */
class Refused extends Error {
  override readonly name: string
  readonly status: number

  constructor(name: string, status: number, message: string) {
    super(message)
    this.name = name
    this.status = status
  }
}

/** Of what the client throws. */
function factsOf(error: unknown): { name: string; message: string; status: number | undefined } {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), status: undefined }
  const metadata: unknown = '$metadata' in error ? error.$metadata : undefined
  const isFact = typeof metadata === 'object' && metadata !== null && 'httpStatusCode' in metadata
  const status = isFact && typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code} ` : ''
  return { name: error.name, message: `${code}${error.message}`, status }
}

/** Throws when the body is not as long as its header says. */
async function fill(target: Buffer, { Body, ContentLength }: GetObjectCommandOutput): Promise<number> {
  let at = 0
  const body = Body as AsyncIterable<Buffer> | undefined
  if (body !== undefined)
    for await (const bytes of body) {
      if (at + bytes.length > target.length) throw new Error(`more than the ${target.length} bytes asked for`)
      at += bytes.copy(target, at)
    }
  if (ContentLength !== undefined && at !== ContentLength) throw new Error(`${at} of ${ContentLength} bytes`)
  return at
}
