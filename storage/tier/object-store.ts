/**
 * ObjectStore: the seam to what keeps the tier: an S3-compatible service, or a directory. Keys are paths with '/', in ASCII.
 * Expected failures are `tierUnavailable` (it may go well later) and `tierRefused` (it will not: credentials, bucket, settings). A failure says
 * nothing about whether the request took effect: an answer may be lost on its way back.
 * Nothing but `putIfAbsent` is asked to be atomic among several writers, and nothing that reads or deletes segments relies on `list`.
 * Neighbours: directory-store.ts and s3-store.ts implement it; store-retries.ts asks again.
 */
import { PlayheadError } from '../../protocol/errors.ts'

export interface ObjectFound {
  readonly key: string
  readonly sizeBytes: number
}

/** An object that is sent in parts: it is there once it is complete, and not before. */
export interface ObjectUpload {
  /** What another process can go on with it by; undefined where uploads end with their process. */
  readonly token: string | undefined
  /** Numbers begin with 1; any order, several at once; sending a part again replaces it. All but the last have `partBytesMin` at least. */
  part(number: number, bytes: Buffer): Promise<void>
  complete(): Promise<void>
  /** Gives up what was sent. */
  abort(): Promise<void>
}

/** An upload that another process has begun, and the bytes of each part that the store has of it. */
export interface ResumedUpload {
  readonly upload: ObjectUpload
  readonly parts: ReadonlyMap<number, number>
}

/** The smallest part that every store takes. */
export const partBytesMin = 5 * 1024 * 1024

export interface ObjectStore {
  /** Where it is, without credentials: for messages. */
  readonly location: string
  /** Makes or replaces an object. */
  put(key: string, bytes: Buffer): Promise<void>
  /** Makes an object unless there is one: exactly one of several who try at once hears `stored`. */
  putIfAbsent(key: string, bytes: Buffer): Promise<'stored' | 'exists'>
  beginUpload(key: string): Promise<ObjectUpload>
  /** Undefined = there is no such upload (any more): it was completed, given up, or is too old. */
  resumeUpload(key: string, token: string): Promise<ResumedUpload | undefined>
  /** Fills `target` from byte `position` on; answers the bytes read, fewer only at the end of the object. Undefined = no such object. */
  read(key: string, position: number, target: Buffer): Promise<number | undefined>
  /** The whole object, for small ones. Undefined = no such object. */
  get(key: string): Promise<Buffer | undefined>
  /** Undefined = no such object. */
  sizeBytes(key: string): Promise<number | undefined>
  /** Objects whose keys begin with `prefix`, in order of keys. May lag behind what was done just now. */
  list(prefix: string): AsyncIterable<ObjectFound>
  /** Nothing happens when it is not there. */
  remove(key: string): Promise<void>
  /** Removes what writes and uploads left that were begun before `beforeMs` and cut off; answers how much. A service does that by a rule of the bucket. */
  removeUnfinished(beforeMs: number): Promise<number>
  close(): Promise<void>
}

export function tierUnavailable(location: string, found: string): PlayheadError {
  return new PlayheadError(
    'tierUnavailable',
    `tier ${location}: found ${found}, wanted an answer; it is asked again, and what it is wanted for waits. Look at the store and the network`,
  )
}

export function tierRefused(location: string, found: string, wanted: string): PlayheadError {
  return new PlayheadError('tierRefused', `tier ${location}: found ${found}, wanted ${wanted}`)
}
