/**
 * Comparison: one peer beside ours. Each round starts our broker fresh, does our work, stops it, then the same with the peer; so the sides
 * alternate, and never run at the same time. Invariant: when a figure exists, the records behind it were accounted for. Called by run.ts.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Figure } from './figure.ts'
import { distinctWork, titleOf } from './our-work.ts'
import type { Durability, Peer } from './peer.ts'
import { OurServer } from './playhead.ts'
import { linesOf } from './result.ts'
import type { Measured, PeerResult } from './result.ts'
import type { Scale } from './scale.ts'
import { runTool } from './tool.ts'

/** Between two servers, so that what one leaves in flight is not the other's. */
const restMs = 500

export interface ComparisonOptions {
  readonly scale: Scale
  /** Below this every server gets a fresh directory. */
  readonly directory: string
  readonly kinds: readonly Durability[]
  readonly sides: 'both' | 'theirs'
  readonly onProgress: (line: string) => void
}

export interface Compared {
  readonly result: PeerResult
  readonly failures: readonly string[]
}

type RoundFigures = Map<string, Figure>

export class Comparison {
  readonly #peer: Peer
  readonly #options: ComparisonOptions
  readonly #failures: string[] = []
  readonly #ours = new Map<string, Figure[]>()
  readonly #theirs = new Map<string, Figure[]>()

  constructor(peer: Peer, options: ComparisonOptions) {
    this.#peer = peer
    this.#options = options
  }

  /** Throws when the peer cannot be fetched; what fails later is reported beside the figures there are. */
  async run(): Promise<Compared> {
    const { name, title, durability, settings } = this.#peer
    const version = await this.#peer.install()
    const { scale, sides } = this.#options
    for (let round = 1; round <= scale.rounds; round++) {
      if (sides === 'both') await this.#attempt(`playhead, round ${round}`, () => this.#ourRound(round))
      for (const kind of this.#kinds()) {
        await this.#attempt(`${name} (${kind}), round ${round}`, () => this.#theirRound(round, kind))
      }
    }
    const lines = this.#measured().flatMap((measured) => linesOf(measured, scale.rounds))
    return { result: { name, title, version, durability, settings, lines }, failures: this.#failures }
  }

  #kinds(): Durability[] {
    return this.#options.kinds.filter((kind) => this.#peer.durability[kind] !== undefined)
  }

  async #ourRound(round: number): Promise<void> {
    await this.#inDirectory(async (directory) => {
      await using server = await OurServer.start(directory)
      const figures: RoundFigures = new Map()
      for (const work of distinctWork(this.#peer.workloads.map(({ ours }) => ours))) {
        const label = titleOf(work)
        const figure = await this.#measure(round, `ours: ${label}`, () => server.measure(work, this.#options.scale))
        if (figure !== undefined) figures.set(label, figure)
      }
      await server.check()
      keep(figures, this.#ours)
    })
  }

  async #theirRound(round: number, kind: Durability): Promise<void> {
    await this.#inDirectory(async (directory) => {
      await using server = await this.#peer.start(directory, kind)
      const figures: RoundFigures = new Map()
      for (const [index, workload] of this.#peer.workloads.entries()) {
        if (!workload.on.includes(kind)) continue
        const label = `${titleOf(workload.ours)}, ${workload.tool}${kind === 'durable' ? ' (durable)' : ''}`
        const measure = (): Promise<Figure> => workload.measure(server, this.#options.scale)
        const figure = await this.#measure(round, `theirs: ${label}`, measure)
        if (figure !== undefined) figures.set(`${index} ${kind}`, figure)
      }
      await this.#peer.check?.(server, this.#options.scale, kind)
      keep(figures, this.#theirs)
    })
  }

  /** Nothing when it failed, which is reported. */
  async #measure(round: number, label: string, work: () => Promise<Figure>): Promise<Figure | undefined> {
    let figure: Figure | undefined
    await this.#attempt(`${label}, round ${round}`, async () => {
      figure = await work()
      this.#options.onProgress(
        `[${this.#peer.name} ${round}/${this.#options.scale.rounds}] ${label}: ${figureText(figure)}`,
      )
    })
    return figure
  }

  /** A directory that is gone afterwards, with its dirty pages: the next server must not pay for writing them back. */
  async #inDirectory(use: (directory: string) => Promise<void>): Promise<void> {
    const directory = join(this.#options.directory, 'server')
    await mkdir(directory, { recursive: true })
    try {
      await use(directory)
    } finally {
      await rm(directory, { recursive: true, force: true, maxRetries: 3 })
      await runTool(['sync'])
      await sleep(restMs)
    }
  }

  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const failure = `${this.#peer.name}: ${what}: ${(error as Error).message}`
      this.#failures.push(failure)
      this.#options.onProgress(`FAILED ${failure}`)
    }
  }

  #measured(): Measured[] {
    return this.#peer.workloads.flatMap((workload, index) =>
      this.#kinds()
        .filter((kind) => workload.on.includes(kind))
        .map((durability) => ({
          workload,
          durability,
          ours: this.#ours.get(titleOf(workload.ours)) ?? [],
          theirs: this.#theirs.get(`${index} ${durability}`) ?? [],
        })),
    )
  }
}

/** Only once the server was found to hold what was written. */
function keep(figures: RoundFigures, all: Map<string, Figure[]>): void {
  for (const [key, figure] of figures) all.set(key, [...(all.get(key) ?? []), figure])
}

function figureText({ recordsPerSecond, seconds, latencyMs }: Figure): string {
  const parts = []
  if (recordsPerSecond !== undefined)
    parts.push(`${Math.round(recordsPerSecond / 1000).toLocaleString('en')} k records/s`)
  if (latencyMs !== undefined) parts.push(`p50 ${latencyMs.p50.toFixed(2)} ms, p99 ${latencyMs.p99.toFixed(2)} ms`)
  if (seconds !== undefined) parts.push(`${seconds.toFixed(1)} s`)
  return parts.join(', ')
}
