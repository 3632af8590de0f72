/**
 * SimulatedObjectStore: the object storage that the brokers of a simulated cluster share. Each call takes its time, may be lost on its way there or back, and is
 * never heard of again once its process has ended; what it did stays. Neighbours: cluster-broker.ts hands it to each broker's tier.
 */
import assert from 'node:assert/strict'
import { crc32c } from '../../../protocol/crc32c.ts'
import { decodeManifest, tierKeys } from '../../../storage/tier/tier-manifest.ts'
import type { TierManifest } from '../../../storage/tier/tier-manifest.ts'
import { tierUnavailable } from '../../../storage/tier/object-store.ts'
import type { ObjectFound, ObjectStore, ObjectUpload } from '../../../storage/tier/object-store.ts'
import type { SimulatedProcess } from '../simulated-process.ts'

/** Of one call, there and back. */
const wayMsMax = 20
/** So many calls to one that is lost. */
const lostOneIn = 60

/** What is kept, whoever asks. */
export class SimulatedBucket {
  readonly objects = new Map<string, Buffer>()

  /** How many segments the newest manifests name; throws where one is not whole, or objects are missing. */
  judge(): number {
    const newest = new Map<string, TierManifest>()
    for (const key of [...this.objects.keys()].toSorted((a, b) => (a < b ? -1 : 1))) {
      if (!key.includes('/manifest/')) continue
      const manifest = decodeManifest(this.objects.get(key)!, key)
      newest.set(`${manifest.topicId}/${manifest.partition}`, manifest)
    }
    let named = 0
    for (const { topicId, partition, segments } of newest.values()) {
      for (const { id, footer } of segments) {
        const key = tierKeys.segment(topicId, partition, footer.baseOffset, id)
        assert.equal(crc32c(this.objects.get(key)!), footer.segmentChecksum, key)
        assert.ok(this.objects.has(tierKeys.index(topicId, partition, footer.baseOffset, id)), key)
        named++
      }
    }
    return named
  }
}

export class SimulatedObjectStore implements ObjectStore {
  readonly location = 'a simulated bucket'
  readonly #bucket: SimulatedBucket
  readonly #process: SimulatedProcess

  constructor(bucket: SimulatedBucket, process: SimulatedProcess) {
    this.#bucket = bucket
    this.#process = process
  }

  put(key: string, bytes: Buffer): Promise<void> {
    const copy = Buffer.from(bytes)
    return this.#call('put', (objects) => void objects.set(key, copy))
  }

  putIfAbsent(key: string, bytes: Buffer): Promise<'stored' | 'exists'> {
    const copy = Buffer.from(bytes)
    return this.#call('put if absent', (objects) => {
      if (objects.has(key)) return 'exists'
      objects.set(key, copy)
      return 'stored'
    })
  }

  beginUpload(key: string): Promise<ObjectUpload> {
    const parts = new Map<number, Buffer>()
    const complete = () => {
      const ordered = [...parts].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes)
      return this.put(key, Buffer.concat(ordered))
    }
    const part = (number: number, bytes: Buffer) => {
      const copy = Buffer.from(bytes)
      return this.#call('part', () => void parts.set(number, copy))
    }
    return Promise.resolve({ token: undefined, part, complete, abort: () => Promise.resolve() })
  }

  resumeUpload(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  read(key: string, position: number, target: Buffer): Promise<number | undefined> {
    return this.#call('read', (objects) => objects.get(key)?.copy(target, 0, position))
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#call('get', (objects) => {
      const found = objects.get(key)
      return found && Buffer.from(found)
    })
  }

  sizeBytes(key: string): Promise<number | undefined> {
    return this.#call('head', (objects) => objects.get(key)?.length)
  }

  async *list(prefix: string): AsyncIterable<ObjectFound> {
    const found = await this.#call('list', (objects) =>
      [...objects].filter(([key]) => key.startsWith(prefix)).map(([key, { length }]) => ({ key, sizeBytes: length })),
    )
    yield* found.toSorted((a, b) => (a.key < b.key ? -1 : 1))
  }

  remove(key: string): Promise<void> {
    return this.#call('remove', (objects) => void objects.delete(key))
  }

  removeUnfinished(): Promise<number> {
    return Promise.resolve(0)
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** A request that is on its way arrives also when its process ends meanwhile; its answer does not. */
  #call<T>(what: string, effect: (objects: Map<string, Buffer>) => T): Promise<T> {
    const { scheduler, name } = this.#process
    const lost = scheduler.oneIn(lostOneIn) ? scheduler.random.pick(['there', 'back'] as const) : undefined
    return new Promise((resolve, reject) => {
      scheduler.after(scheduler.between(0, wayMsMax / 2), `${name} tier ${what}`, () => {
        const answer = lost === 'there' ? undefined : { value: effect(this.#bucket.objects) }
        this.#process.after(scheduler.between(0, wayMsMax / 2), `tier ${what} answers`, () => {
          if (answer === undefined || lost !== undefined) reject(tierUnavailable(this.location, `${what} lost`))
          else resolve(answer.value)
        })
      })
    })
  }
}
