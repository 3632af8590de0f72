/**
 * FullDisk: a file that takes all of a disk's room, and a client of its own that sees what the broker makes of it: appends are refused with diskFull,
 * reads go on, and once there is room again so do appends, without a restart. Neighbour: power.ts runs it beside the load.
 */
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, isPlayheadError } from '../../client/index.ts'
import type { Playhead } from '../../client/index.ts'

/** Fills what the broker has allocated ahead within a few appends. */
const payloadBytes = 200_000
/** The broker has to say that the disk is full before so many of them are written. */
const appendsMax = 200
const topicName = 'probe'

export class FullDisk {
  readonly findings: string[] = []
  refused = 0
  readonly #path: string
  readonly #playhead: Playhead
  #written = 0
  /** The last append got no answer in time: it is there or not. */
  #isOpen = false

  private constructor(path: string, playhead: Playhead) {
    this.#path = join(path, 'filler')
    this.#playhead = playhead
  }

  /** `path`: on the disk. */
  static async open(path: string, server: string): Promise<FullDisk> {
    const playhead = await connect(server, { timeoutMs: 1_500 })
    await playhead.admin.createTopic(topicName, { partitions: 1 })
    return new FullDisk(path, playhead)
  }

  /** Fills the disk, looks, and makes room again. */
  async run(meanwhile: () => Promise<void>): Promise<void> {
    await this.#fill()
    try {
      await this.#untilRefused()
      await this.#read()
      await meanwhile()
    } finally {
      await rm(this.#path)
    }
    await this.#untilWritten()
    await this.#read()
  }

  async close(): Promise<void> {
    await this.#playhead.close()
  }

  async #fill(): Promise<void> {
    const file = await open(this.#path, 'w')
    try {
      for (let bytes = 1 << 20; bytes >= 4096; ) {
        try {
          await file.write(Buffer.alloc(bytes, 1))
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
          bytes >>= 1
        }
      }
    } finally {
      await file.close()
    }
  }

  async #untilRefused(): Promise<void> {
    for (let appends = 0; appends < appendsMax; appends++) {
      const error = await this.#append()
      if (error === undefined) continue
      if (isPlayheadError(error, 'unavailable')) continue
      this.refused++
      if (!isPlayheadError(error, 'diskFull')) this.findings.push(`append: found ${error.message}, wanted diskFull`)
      return
    }
    this.findings.push(`found ${appendsMax} appends written to a full disk, wanted a refusal`)
  }

  async #untilWritten(): Promise<void> {
    for (let tries = 0; tries < 60; tries++) {
      const error = await this.#append()
      if (error === undefined) return
      if (!isPlayheadError(error, 'diskFull') && !isPlayheadError(error, 'unavailable'))
        this.findings.push(`append: found ${error.message}, wanted diskFull or yes`)
      await sleep(100)
    }
    this.findings.push('found appends refused although there is room again, wanted them to go on')
  }

  /** Expects the version, so that it can be asked again whatever became of it the first time. */
  async #append(): Promise<Error | undefined> {
    const expectedVersion = this.#written === 0 ? 'none' : this.#written - 1
    try {
      const { version } = await this.#playhead
        .topic(topicName)
        .stream('a')
        .append({ type: 'Happened', data: { at: this.#written, x: 'x'.repeat(payloadBytes) } }, { expectedVersion })
      if (version !== this.#written) this.findings.push(`append: found version ${version}, wanted ${this.#written}`)
      this.#written++
      this.#isOpen = false
      return undefined
    } catch (error) {
      if (isPlayheadError(error, 'unavailable')) this.#isOpen = true
      if (isPlayheadError(error, 'wrongExpectedVersion') && this.#foundOpen(error.conflicts[0]?.found)) return undefined
      return error instanceof Error ? error : new Error(String(error))
    }
  }

  /** True if the last append turns out to be there. */
  #foundOpen(version: number | undefined): boolean {
    if (!this.#isOpen || version !== this.#written) return false
    this.#isOpen = false
    this.#written++
    return true
  }

  async #read(): Promise<void> {
    let version = 0
    for await (const event of this.#playhead.topic(topicName).stream('a').read()) {
      const { at } = event.data as { at: number }
      if (event.version !== version || at !== version) this.findings.push(`read: found ${at}, wanted ${version}`)
      version++
    }
    if (version !== this.#written && !this.#foundOpen(version - 1))
      this.findings.push(`read: found ${version} events, wanted ${this.#written}`)
  }
}
