/**
 * EtcdWatch: one watch through etcd's gateway, opened again whenever it ends, or has been silent for so long that it may be dead. Each time that it
 * stands, a hint for anything, since nobody knows what was missed.
 * Invariant: only keys leave here, never a value: what they hold is read where answers are linearizable.
 * Neighbours: etcd-metadata-store.ts makes it.
 */
import type { Clock, Timer } from '../platform/clock.ts'
import type { HttpStream } from '../platform/http-client.ts'
import { MiB } from '../protocol/limits.ts'
import type { EtcdGateway } from './etcd-gateway.ts'
import type { OnHint } from './metadata-store.ts'

export interface EtcdWatchOptions {
  readonly gateway: EtcdGateway
  readonly clock: Clock
  /** In base64. */
  readonly range: { readonly key: string; readonly range_end: string }
  /** Keys as they are in etcd. */
  readonly onHint: OnHint
}

const lineBytesMax = 64 * MiB
/** etcd says at once that the watch stands. */
const startMsMax = 5_000
/** A connection that was cut without a word looks like this. */
const silenceMsMax = 60_000
const pauseMsMin = 50
const pauseMsMax = 2_000

export class EtcdWatch {
  readonly #options: EtcdWatchOptions
  #stream: HttpStream | undefined
  #timer: Timer | undefined
  #pauseMs = pauseMsMin
  #isClosed = false

  constructor(options: EtcdWatchOptions) {
    this.#options = options
    this.#open()
  }

  close(): void {
    this.#isClosed = true
    this.#stop()
  }

  #open(): void {
    const { gateway, clock, range } = this.#options
    this.#stop()
    if (this.#isClosed) return
    let rest: Buffer[] = []
    let restBytes = 0
    const onData = (part: Buffer): void => {
      if (this.#stream !== stream) return
      this.#waitForSilence()
      let from = 0
      for (let end = part.indexOf(0x0a); end !== -1; end = part.indexOf(0x0a, from)) {
        const line = Buffer.concat([...rest, part.subarray(from, end)])
        rest = []
        restBytes = 0
        from = end + 1
        if (!this.#read(line)) return this.#again()
      }
      rest.push(part.subarray(from))
      restBytes += part.length - from
      if (restBytes > lineBytesMax) this.#again()
    }
    const stream = gateway.stream('/v3/watch', { create_request: range }, onData, () => {
      if (this.#stream === stream) this.#again()
    })
    this.#stream = stream
    this.#timer = clock.after(startMsMax, () => this.#again())
  }

  /** False when the watch is over. */
  #read(line: Buffer): boolean {
    if (line.length === 0) return true
    const result = resultOf(line)
    if (result === undefined || result.canceled === true) return false
    if (result.created === true) {
      this.#pauseMs = pauseMsMin
      this.#options.onHint(undefined)
    }
    for (const { kv } of result.events ?? []) {
      const key = kv?.key
      this.#options.onHint(key === undefined ? undefined : Buffer.from(key, 'base64').toString('utf8'))
    }
    return !this.#isClosed
  }

  #waitForSilence(): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(silenceMsMax, () => this.#open())
  }

  #again(): void {
    this.#stop()
    if (this.#isClosed) return
    this.#timer = this.#options.clock.after(this.#pauseMs, () => this.#open())
    this.#pauseMs = Math.min(this.#pauseMs * 2, pauseMsMax)
  }

  #stop(): void {
    this.#timer?.cancel()
    this.#stream?.close()
    this.#stream = undefined
  }
}

interface WatchResult {
  readonly created?: boolean
  readonly canceled?: boolean
  readonly events?: readonly { readonly kv?: { readonly key?: string } }[]
}

/** Undefined when the line is an error, or nothing of etcd's. */
function resultOf(line: Buffer): WatchResult | undefined {
  try {
    const { result } = JSON.parse(line.toString('utf8')) as { result?: WatchResult }
    return result
  } catch {
    return undefined
  }
}
