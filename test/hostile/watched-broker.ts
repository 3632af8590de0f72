/**
 * WatchedBroker: `playhead serve` as a process of its own, with what it uses read from /proc, and with events of a healthy client in it that
 * must be there, unchanged, whatever else is done to it. Invariant: `check` fails when it has died, has reported a bug, has lost or changed
 * an acknowledged byte, or does not take in and serve the healthy client's next event.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { MiB } from '../../protocol/limits.ts'
import { FrameClient, connectFrameClient } from '../broker/frame-client.ts'
import { appendBatch, createTopic, eventBatch, fetchRequest } from '../broker/running-broker.ts'
import { ServedBroker } from '../e2e/served-broker.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'

/** Nobody hostile knows this name. */
const healthyTopic = 'healthy-6f2d1a'

export interface Usage {
  readonly rssBytes: number
  readonly descriptors: number
}

/** One that waits for its next request is closed by the broker after a while, perhaps while that request is on its way. */
export const onOwnConnection = { connection: 'close' }

export class WatchedBroker implements AsyncDisposable {
  readonly served: ServedBroker
  readonly #directory: TemporaryDirectory
  /** Offsets of what was acknowledged, and what it was. */
  #acknowledged = 0
  #digest = ''

  private constructor(served: ServedBroker, directory: TemporaryDirectory) {
    this.served = served
    this.#directory = directory
  }

  static async start(...flags: string[]): Promise<WatchedBroker> {
    const directory = await TemporaryDirectory.make()
    const watched = new WatchedBroker(await ServedBroker.start(directory.path, flags), directory)
    using client = await connectFrameClient(watched.served.port)
    await createTopic(client, healthyTopic)
    for (let round = 0; round < 20; round++) await watched.#append(client)
    watched.#digest = await watched.#read(client)
    return watched
  }

  get port(): number {
    return this.served.port
  }

  get httpPort(): number {
    return this.served.httpPort
  }

  /** In words, for a connection that was closed unasked: whether the broker is still there, and what it said. */
  async fate(): Promise<string> {
    const ended = await Promise.race([this.served.ended, wait(1_000, undefined, { ref: false })])
    const state = ended === undefined ? 'the broker runs' : `the broker ended with ${ended}`
    return `${state} and said: ${this.served.errors.slice(-2_000)}`
  }

  /** As the kernel counts it. */
  usage(): Usage {
    const { pid, isRunning, errors } = this.served
    const ended = `the broker has ended and said: ${errors.slice(-2_000)}`
    assert.ok(isRunning, ended)
    const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    assert.ok(rss !== undefined, ended)
    return { rssBytes: Number(rss) * 1024, descriptors: readdirSync(`/proc/${pid}/fd`).length }
  }

  /** Looks at memory and descriptors while `work` is under way; the most of each. */
  async most(work: Promise<unknown>): Promise<Usage> {
    let [rssBytes, descriptors] = [0, 0]
    const state = { isOver: false }
    const over = work.finally(() => (state.isOver = true))
    while (!state.isOver) {
      const now = this.usage()
      rssBytes = Math.max(rssBytes, now.rssBytes)
      descriptors = Math.max(descriptors, now.descriptors)
      await Promise.race([over, wait(20)])
    }
    await over
    return { rssBytes, descriptors }
  }

  /** Waits until it has no more descriptors than that: closed connections are let go of in their own time. */
  async settled(descriptorsMax: number): Promise<void> {
    for (let left = 1_000; left > 0 && this.usage().descriptors > descriptorsMax; left--) await wait(20)
    const { descriptors } = this.usage()
    assert.ok(descriptors <= descriptorsMax, `${descriptors} descriptors are open, wanted at most ${descriptorsMax}`)
  }

  /** A healthy client is served, and what was acknowledged before is as it was. */
  async check(): Promise<void> {
    using client = await connectFrameClient(this.port)
    assert.equal(await this.#read(client), this.#digest, 'what was acknowledged has changed')
    await this.#append(client)
    this.#digest = await this.#read(client)
    const health = await fetch(`http://127.0.0.1:${this.httpPort}/readyz`, { headers: onOwnConnection })
    assert.deepEqual([health.status, await health.json()], [200, { status: 'ready', problems: [] }])
    assert.doesNotMatch(this.served.errors, /bug in|fatal|assert|Warning/i)
  }

  /** kill -9, start again, look. */
  async restart(...flags: string[]): Promise<void> {
    await this.served.kill()
    const again = new WatchedBroker(await ServedBroker.start(this.#directory.path, flags), this.#directory)
    again.#acknowledged = this.#acknowledged
    again.#digest = this.#digest
    try {
      await again.check()
    } finally {
      await again.served.kill()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.served[Symbol.asyncDispose]()
    await this.#directory[Symbol.asyncDispose]()
  }

  async #append(client: FrameClient): Promise<void> {
    const { header } = await appendBatch(client, healthyTopic, eventBatch(['a', 'b', 'c']))
    assert.deepEqual([header.groups[0]?.failure, header.groups[0]?.baseOffset], [undefined, this.#acknowledged])
    this.#acknowledged = header.endOffset
  }

  /** Every byte of it, as a digest. */
  async #read(client: FrameClient): Promise<string> {
    const digest = createHash('sha256')
    let offset = 0
    while (offset < this.#acknowledged) {
      const { header, body } = await client.request('fetch', fetchRequest(healthyTopic, offset, { maxBytes: MiB }))
      assert.ok(header.nextOffset > offset, `nothing at offset ${offset} of ${this.#acknowledged}`)
      digest.update(body)
      offset = header.nextOffset
    }
    assert.equal(offset, this.#acknowledged)
    return digest.digest('hex')
  }
}

/** In words. */
export function grownBy(before: Usage, now: Usage): string {
  return `grown by ${Math.round((now.rssBytes - before.rssBytes) / MiB)} MiB`
}

export function assertGrownBelow(bytesMax: number, before: Usage, now: Usage): void {
  assert.ok(now.rssBytes - before.rssBytes < bytesMax, `${grownBy(before, now)}, wanted less than ${bytesMax / MiB}`)
}
