/**
 * Names that users choose: topics, streams, playheads. Each is checked where it enters, with a typed error that says what is allowed.
 * Names never become paths, yet topic and playhead names keep to characters that are safe everywhere.
 */
import { isUtf8 } from 'node:buffer'
import { PlayheadError } from './errors.ts'
import type { ErrorCode } from './errors.ts'
import { playheadNameBytesMax, streamNameBytesMax, topicNameBytesMax } from './limits.ts'

const plainName = /^[A-Za-z0-9._-]+$/

/** Throws invalidTopicName unless it is 1 … 249 of A-Z a-z 0-9 . _ - and neither `.` nor holding `..`. */
export function checkTopicName(name: string): void {
  checkPlainName('invalidTopicName', 'topic name', name, topicNameBytesMax)
}

/** Throws invalidPlayheadName; the rule is that of topic names. */
export function checkPlayheadName(name: string): void {
  checkPlainName('invalidPlayheadName', 'playhead name', name, playheadNameBytesMax)
}

/** Throws invalidUserName unless it is 1 … 128 of A-Z a-z 0-9 . _ @ - : what needs no escaping anywhere. */
export function checkUserName(name: string): void {
  if (/^[A-Za-z0-9._@-]{1,128}$/.test(name)) return
  throw new PlayheadError(
    'invalidUserName',
    `user name: found ${JSON.stringify(name.slice(0, 200))}, wanted 1 to 128 of A-Z a-z 0-9 . _ @ -; choose another name`,
  )
}

/** Topics that the broker keeps for itself: readable, but written and deleted by it alone. */
export function isInternalTopic(name: string): boolean {
  return name.startsWith('__')
}

/** Throws invalidStream unless the name is 1 … 1,024 bytes of UTF-8. */
export function checkStream(name: string): void {
  const bytes = Buffer.byteLength(name)
  if (bytes === 0 || bytes > streamNameBytesMax) throw invalidStream(`found ${bytes} bytes`)
  if (!name.isWellFormed()) throw invalidStream('found text with half a surrogate pair')
}

/**
 * Throws invalidStream unless bytes `from` … `to` (exclusive), a record's key, are a stream name: 1 … 1,024 bytes of UTF-8. What is not UTF-8 would
 * read as U+FFFD: two keys would become one stream.
 */
export function checkKey(bytes: Buffer, from: number, to: number): void {
  if (to <= from || to - from > streamNameBytesMax) throw invalidStream(`found ${to - from} bytes`)
  if (!isUtf8(bytes.subarray(from, to))) throw invalidStream('found bytes that are not UTF-8')
}

function checkPlainName(code: ErrorCode, thing: string, name: string, bytesMax: number): void {
  if (plainName.test(name) && name.length <= bytesMax && name !== '.' && !name.includes('..')) return
  const found =
    name === '' ? 'an empty text' : name.length > bytesMax ? `${name.length} characters` : JSON.stringify(name)
  throw new PlayheadError(
    code,
    `${thing}: found ${found}, wanted 1 to ${bytesMax} of A-Z a-z 0-9 . _ - and no two dots in a row; choose another name`,
  )
}

function invalidStream(found: string): PlayheadError {
  return new PlayheadError(
    'invalidStream',
    `stream name: ${found}, wanted 1 to ${streamNameBytesMax} bytes of UTF-8; shorten it or choose another one`,
  )
}
