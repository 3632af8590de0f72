/**
 * RetryingStore: asks a store again when it does not answer, each time after a longer wait, with some chance in it so that those who failed
 * together do not come back together. What a store refuses is not asked again.
 * A request whose answer was lost may have taken effect, so `putIfAbsent` may answer `exists` of the caller's own object: he compares.
 * Neighbours: tier-location.ts puts it around every store.
 */
import { sleep } from '../../platform/clock.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Random } from '../../platform/random.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import type { ObjectFound, ObjectStore, ObjectUpload, ResumedUpload } from './object-store.ts'

export interface RetryOptions {
  readonly store: ObjectStore
  readonly clock: Clock
  readonly random: Random
  readonly attemptsMax: number
  /** Before the second attempt; doubles from then on. */
  readonly waitMsMin: number
  readonly waitMsMax: number
}

export class RetryingStore implements ObjectStore {
  readonly stats = { requests: 0, retries: 0, failures: 0 }
  readonly location: string
  readonly #options: RetryOptions
  readonly #closing = new AbortController()

  constructor(options: RetryOptions) {
    this.#options = options
    this.location = options.store.location
  }

  put(key: string, bytes: Buffer): Promise<void> {
    return this.#again((store) => store.put(key, bytes))
  }

  putIfAbsent(key: string, bytes: Buffer): Promise<'stored' | 'exists'> {
    return this.#again((store) => store.putIfAbsent(key, bytes))
  }

  async beginUpload(key: string): Promise<ObjectUpload> {
    return this.#retrying(await this.#again((store) => store.beginUpload(key)))
  }

  async resumeUpload(key: string, token: string): Promise<ResumedUpload | undefined> {
    const found = await this.#again((store) => store.resumeUpload(key, token))
    return found && { ...found, upload: this.#retrying(found.upload) }
  }

  read(key: string, position: number, target: Buffer): Promise<number | undefined> {
    return this.#again((store) => store.read(key, position, target))
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#again((store) => store.get(key))
  }

  sizeBytes(key: string): Promise<number | undefined> {
    return this.#again((store) => store.sizeBytes(key))
  }

  /** From the beginning again when it breaks off: nothing is told twice. */
  async *list(prefix: string): AsyncGenerator<ObjectFound> {
    yield* await this.#again(async (store) => {
      const found: ObjectFound[] = []
      for await (const object of store.list(prefix)) found.push(object)
      return found
    })
  }

  remove(key: string): Promise<void> {
    return this.#again((store) => store.remove(key))
  }

  removeUnfinished(beforeMs: number): Promise<number> {
    return this.#again((store) => store.removeUnfinished(beforeMs))
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error('the tier is closed'))
    await this.#options.store.close()
  }

  #retrying(upload: ObjectUpload): ObjectUpload {
    return {
      token: upload.token,
      part: (number, bytes) => this.#again(() => upload.part(number, bytes)),
      complete: () => this.#again(() => upload.complete()),
      abort: () => this.#again(() => upload.abort()),
    }
  }

  async #again<T>(ask: (store: ObjectStore) => Promise<T>): Promise<T> {
    const { store, clock, attemptsMax, waitMsMin, waitMsMax } = this.#options
    for (let attempt = 1; ; attempt++) {
      try {
        this.stats.requests++
        return await ask(store)
      } catch (error) {
        if (!isPlayheadError(error, 'tierUnavailable') || attempt >= attemptsMax || this.#closing.signal.aborted) {
          this.stats.failures++
          throw error
        }
        this.stats.retries++
        const longestMs = Math.min(waitMsMin * 2 ** (attempt - 1), waitMsMax)
        await sleep(clock, longestMs * (0.5 + this.#chance() / 2), this.#closing.signal)
      }
    }
  }

  #chance(): number {
    return this.#options.random.integer52() / 2 ** 52
  }
}
