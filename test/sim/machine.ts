/**
 * Machine: where the broker of a simulation runs: a disk, a cache, a network port, and the runs of the broker on it, one after the other.
 * Neighbours: lone-broker.ts puts the broker together; nemesis.ts starts, stops, kills and unplugs it.
 */
import type { FileSystem } from '../../platform/file-system.ts'
import { KiB } from '../../protocol/limits.ts'
import type { StorageSettings } from '../../storage/storage-settings.ts'
import { verify } from '../../storage/verify.ts'
import { Disk } from './disk.ts'
import { DiskFileSystem } from './disk-file-system.ts'
import { dataDirectory, openLoneBroker } from './lone-broker.ts'
import type { BrokerFoundations } from './lone-broker.ts'
import type { Network } from './network.ts'
import type { Scheduler } from './scheduler.ts'
import { SimulatedCache } from './simulated-cache.ts'
import { SimulatedProcess } from './simulated-process.ts'

/** A broker whose disk has failed is there for up to so long. */
const agonyMsMax = 50

export interface MachineOptions {
  readonly scheduler: Scheduler
  readonly network: Network
  readonly settings: Partial<StorageSettings>
  /** For planted bugs: what stands between the broker and its disk. */
  readonly wrapFileSystem?: (fileSystem: FileSystem, process: SimulatedProcess) => FileSystem
  /** Of its processes; `broker` when absent. */
  readonly name?: string
  /** Starts a broker on it, and answers how to stop it. One by itself when absent. */
  readonly open?: (foundations: BrokerFoundations) => Promise<() => Promise<void>>
  readonly onReport?: (text: string) => void
}

interface Run {
  readonly process: SimulatedProcess
  /** Resolves when the process is gone. */
  readonly ended: Promise<void>
  readonly onEnd: () => void
  /** Set once it serves. */
  stop?: () => Promise<void>
}

export class Machine {
  readonly disk: Disk
  readonly cache: SimulatedCache
  /** Why runs ended or could not start, and what they reported. */
  readonly reports: string[] = []
  /** Not expected of any run: a bug in a handler, or a start that failed without a fault that explains it. */
  readonly bugs: string[] = []
  starts = 0
  fatals = 0
  /** Told to end, and not gone yet. */
  isEnding = false
  wallSkewMs = 0
  readonly #options: MachineOptions
  readonly #scheduler: Scheduler
  #run: Run | undefined

  constructor(options: MachineOptions) {
    this.#options = options
    this.#scheduler = options.scheduler
    this.disk = new Disk(options.scheduler.random)
    this.cache = new SimulatedCache(this.disk)
  }

  get isRunning(): boolean {
    return this.#run !== undefined
  }

  get serves(): boolean {
    return this.#run?.stop !== undefined
  }

  /** Starts a run if there is none. Resolves once it serves, or has failed, or was ended meanwhile. */
  async start(): Promise<void> {
    if (this.#run !== undefined) return
    const process = new SimulatedProcess(this.#scheduler, `${this.#options.name ?? 'broker'}-${++this.starts}`)
    process.wallSkewMs = this.wallSkewMs
    const { promise: ended, resolve: onEnd } = Promise.withResolvers<void>()
    const run: Run = { process, ended, onEnd }
    this.#run = run
    await Promise.race([this.#serve(run), ended])
  }

  /** SIGTERM: all in order. */
  async stop(): Promise<void> {
    const run = this.#run
    if (run?.stop === undefined) return
    const stopping = run.stop().catch((error: unknown) => this.#report(`stop failed: ${String(error)}`))
    delete run.stop
    await Promise.race([stopping, run.ended])
    if (this.#run === run) this.#end('kill')
  }

  async #serve(run: Run): Promise<void> {
    try {
      run.stop = await this.#open(run.process)
    } catch (error) {
      this.#report(`start failed: ${String(error)}`)
      // Not even a cache that must be wiped may keep a broker from starting, if the disk has room for the wiping.
      if (/stream index|cache/.test(String(error)) && !/ENOSPC|EDQUOT/.test(String(error)))
        this.bugs.push(`start failed: ${String(error)}`)
      if (this.#run === run) this.#end('kill')
    }
  }

  /** What is wrong with the files; offline, while no broker runs. */
  async verify(): Promise<Awaited<ReturnType<typeof verify>>['damage']> {
    const process = new SimulatedProcess(this.#scheduler, 'verify')
    const fileSystem = new DiskFileSystem(this.disk, process)
    const scratchDirectory = '/verify'
    await fileSystem.makeDirectory(scratchDirectory)
    const { damage } = await verify({ directory: dataDirectory, fileSystem, clock: process.clock, scratchDirectory })
    return damage
  }

  /** The wall clock jumps, for this run and those to come. */
  skewWallClock(skewMs: number): void {
    this.wallSkewMs = skewMs
    if (this.#run !== undefined) this.#run.process.wallSkewMs = skewMs
  }

  kill(): void {
    if (this.#run !== undefined) this.#end('kill')
  }

  cutPower(): void {
    if (this.#run !== undefined) this.#end('power')
    this.disk.cutPower()
  }

  /** Ends with all it had; another disk, an empty one, is put in. */
  loseDisk(): void {
    if (this.#run !== undefined) this.#end('power')
    this.disk.replace()
    this.cache.cut(0)
  }

  /** Stands still until `resume`, or until it is killed. */
  pause(): void {
    this.#run?.process.pause()
  }

  resume(): void {
    this.#run?.process.resume()
  }

  /**
   * The broker's own way is to exit in the very turn in which it hears of the failure. Half the times it is given a while longer, as by an owner with
   * something left to do: what it says meanwhile counts, and it must not say yes.
   */
  #endSoon(process: SimulatedProcess): void {
    const end = () => {
      if (this.#run?.process === process) this.#end('kill')
    }
    if (this.#scheduler.oneIn(2)) return end()
    this.isEnding = true
    process.after(this.#scheduler.between(0, agonyMsMax), 'agony', end)
  }

  #end(how: 'kill' | 'power'): void {
    this.isEnding = false
    const run = this.#run
    this.#run = undefined
    if (run === undefined) return
    run.process.end(how)
    run.onEnd()
    this.#options.network.ended(run.process, how)
    if (how === 'kill') this.disk.freeLock(dataDirectory)
  }

  async #open(process: SimulatedProcess): Promise<() => Promise<void>> {
    this.disk.freeLock(dataDirectory)
    const { network, settings, wrapFileSystem = (inner) => inner, open = openLoneBroker } = this.#options
    const onFatal = (error: Error) => {
      if (!process.isAlive) return
      this.fatals++
      this.#report(`fatal: ${error.message}`)
      this.#endSoon(process)
    }
    const onBug = (error: unknown, where: string, changes: boolean) => {
      const bug = error instanceof Error ? error : new Error(String(error))
      this.bugs.push(`bug in ${where}: ${bug.stack ?? bug.message}`)
      if (changes) onFatal(bug)
    }
    return await open({
      process,
      fileSystem: wrapFileSystem(new DiskFileSystem(this.disk, process), process),
      cache: this.cache,
      network,
      settings: { allocationBytesMin: 64 * KiB, ...settings },
      report: (level, message) => this.#report(`${level}: ${message}`),
      onFatal,
      onBug,
    })
  }

  #report(text: string): void {
    this.reports.push(text)
    this.#options.onReport?.(text)
  }
}
