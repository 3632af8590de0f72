/**
 * RedisClient: the few commands the comparison needs on one connection, and a reader of whole streams. The reader walks the reply's bytes
 * without making strings of values, so that the server and not this client is what is measured. Called by redis.ts.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { PlayheadError } from '../../protocol/errors.ts'

const lineFeed = 10
const asterisk = 42
const dollar = 36

/** Entries seen, and where the last of them stands. */
interface Page {
  readonly entries: number
  readonly lastId: string
}

export class RedisClient {
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #failure: Error | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (bytes: Buffer) => {
      this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
      this.#wake?.()
    })
    socket.on('close', () =>
      this.#fail(new PlayheadError('unavailable', 'redis: found the connection closed, wanted a reply')),
    )
    socket.on('error', (error) => this.#fail(error))
  }

  static async connect(port: number): Promise<RedisClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RedisClient(socket)
  }

  close(): void {
    this.#socket.destroy()
  }

  /** Entries of a stream, by XLEN. */
  async streamLength(stream: string): Promise<number> {
    this.#send(['XLEN', stream])
    for (;;) {
      const end = this.#received.indexOf(lineFeed)
      if (end < 0) {
        await this.#more()
        continue
      }
      const line = this.#received.toString('latin1', 0, end - 1)
      this.#received = this.#received.subarray(end + 1)
      if (!line.startsWith(':')) throw new PlayheadError('unavailable', `redis XLEN: found ${line}, wanted a number`)
      return Number(line.slice(1))
    }
  }

  /** Reads a stream from its start by XRANGE, `count` entries at a time; answers how many there were. Every value must have `valueBytes`. */
  async readStream(stream: string, count: number, valueBytes: number): Promise<number> {
    let total = 0
    let from = '-'
    for (;;) {
      this.#send(['XRANGE', stream, from, '+', 'COUNT', String(count)])
      const page = await this.#page(valueBytes)
      if (page.entries === 0) return total
      total += page.entries
      from = `(${page.lastId}`
    }
  }

  async #page(valueBytes: number): Promise<Page> {
    const walk = new PageWalk(valueBytes)
    for (;;) {
      const used = walk.advance(this.#received)
      this.#received = this.#received.subarray(used)
      if (walk.isDone) return { entries: walk.entries, lastId: walk.lastId }
      await this.#more()
    }
  }

  #send(words: readonly string[]): void {
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    this.#socket.write(`*${words.length}\r\n${parts.join('')}`)
  }

  #more(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    return new Promise((resolve, reject) => {
      this.#wake = () => {
        this.#wake = undefined
        if (this.#failure === undefined) resolve()
        else reject(this.#failure)
      }
    })
  }

  #fail(error: Error): void {
    this.#failure = error
    this.#wake?.()
  }
}

/** An XRANGE reply of entries with one field each, walked as it arrives: *n, then per entry *2 $id *2 $field $value. */
class PageWalk {
  entries = 0
  lastId = ''
  isDone = false
  readonly #valueBytes: number
  #left = -1

  constructor(valueBytes: number) {
    this.#valueBytes = valueBytes
  }

  /** Takes whole entries off the front of `bytes`; answers how many bytes those were. */
  advance(bytes: Buffer): number {
    let position = 0
    if (this.#left < 0) {
      const end = bytes.indexOf(lineFeed)
      if (end < 0) return 0
      if (bytes[0] !== asterisk) throw unexpected(bytes)
      this.#left = lengthAt(bytes, 1)
      position = end + 1
    }
    while (this.#left > 0) {
      const next = this.#entryAt(bytes, position)
      if (next < 0) return position
      position = next
      this.#left--
      this.entries++
    }
    this.isDone = true
    return position
  }

  /** Where the entry that starts here ends; -1 when it has not arrived whole. */
  #entryAt(bytes: Buffer, start: number): number {
    const idLine = bytes.indexOf(lineFeed, start) + 1
    const idStart = idLine === 0 ? 0 : bytes.indexOf(lineFeed, idLine) + 1
    if (idStart === 0) return -1
    const idEnd = idStart + lengthAt(bytes, idLine + 1)
    const fieldLine = bytes.indexOf(lineFeed, idEnd + 2) + 1 // past the *2 of the fields
    const fieldStart = fieldLine === 0 ? 0 : bytes.indexOf(lineFeed, fieldLine) + 1
    if (fieldStart === 0) return -1
    const valueLine = fieldStart + lengthAt(bytes, fieldLine + 1) + 2
    const valueStart = bytes.indexOf(lineFeed, valueLine) + 1
    if (valueStart === 0) return -1
    const end = valueStart + this.#valueBytes + 2
    if (end > bytes.length) return -1
    if (bytes[valueLine] !== dollar || lengthAt(bytes, valueLine + 1) !== this.#valueBytes) throw unexpected(bytes)
    if (this.#left === 1) this.lastId = bytes.toString('latin1', idStart, idEnd)
    return end
  }
}

/** A decimal number up to the next carriage return. */
function lengthAt(bytes: Buffer, start: number): number {
  let value = 0
  for (let at = start; bytes[at] !== 13 && at < bytes.length; at++) value = value * 10 + (bytes[at]! - 48)
  return value
}

function unexpected(bytes: Buffer): PlayheadError {
  const found = JSON.stringify(bytes.toString('latin1', 0, 60))
  return new PlayheadError('unavailable', `redis: found ${found}, wanted entries of one field and the size written`)
}
