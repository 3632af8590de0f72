/**
 * Machine: the computer of one broker: a place in the network, a disk of its own (ext4, the power of which can be cut), and the process that serves on it,
 * started through the command line. What is meant to run and has ended is started again by `supervise`. Only a broker whose disk was taken from it may end
 * by itself, and one that starts
 * without etcd on an empty disk; the end of any other is a finding. Neighbours: fleet.ts owns three, nemesis.ts does harm to them.
 */
import { appendFileSync, existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerProcess } from '../cluster/broker-process.ts'
import { LoopDisk } from '../crash/loop-disk.ts'
import type { MachineNetwork } from './machine-network.ts'
import { SlowDisk } from './slow-disk.ts'

/** Of a file system in a file: only what is written takes room. */
const diskBytes = 1024 * 1024 * 1024
const port = 7420
const supervisePollMs = 100
/** A broker that does not start, over and over, is not started as often as a processor can. */
const restartPauseMs = 500
const withoutEtcd = /unavailable: etcd at /

/** What a broker said in its last moment is heard within that. */
const toldMsMax = 2_000

export interface MachineOptions {
  readonly broker: number
  readonly network: MachineNetwork
  /** Where its log and what steers its disk lie. */
  readonly directory: string
  readonly slowLibrary: string
  readonly cluster: string
  readonly flags: Readonly<Record<string, string | number>>
  /** Each line that it reports. */
  readonly onReport: (machine: Machine, line: string) => void
  readonly onFinding: (finding: string) => void
}

export class Machine {
  readonly broker: number
  readonly disk: LoopDisk
  readonly slowDisk: SlowDisk
  /** It is meant to be down, or somebody is at it. */
  isDown = false
  starts = 0
  readonly #options: MachineOptions
  #process: BrokerProcess | undefined
  #darkUntilMs = -Infinity
  /** That says what is wrong. */
  #lastLine = ''
  /** Those that were ended from outside. */
  readonly #ended = new WeakSet<BrokerProcess>()

  private constructor(options: MachineOptions, disk: LoopDisk) {
    this.broker = options.broker
    this.disk = disk
    this.#options = options
    this.slowDisk = new SlowDisk(options.slowLibrary, join(options.directory, `slow-${options.broker}`))
  }

  static async make(options: MachineOptions): Promise<Machine> {
    return new Machine(options, await LoopDisk.make(diskBytes))
  }

  get party(): string {
    return partyOf(this.broker)
  }

  get server(): string {
    return `${this.#options.network.addressOf(this.party)}:${port}`
  }

  get dataDirectory(): string {
    return join(this.disk.path, 'data')
  }

  /** Its disk is cut off while the broker goes on, or was a moment ago: what it reads then, and told somebody, may be anything but somebody's event. */
  get isDark(): boolean {
    return performance.now() < this.#darkUntilMs
  }

  get isRunning(): boolean {
    return this.#process?.isRunning === true
  }

  /** Starts the broker whenever it is not there and should be, until `isOver`. */
  async supervise(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      if (!this.isDown && !this.isRunning) {
        if (this.starts > 0) await sleep(restartPauseMs)
        if (!this.isDown && !isOver()) this.#start()
      }
      await sleep(supervisePollMs)
    }
  }

  pause(): void {
    this.#process?.signal('SIGSTOP')
  }

  resume(): void {
    this.#process?.signal('SIGCONT')
  }

  /** kill -9. Resolves once it is gone. */
  async kill(): Promise<void> {
    const process = this.#process
    if (process === undefined) return
    this.#ended.add(process)
    process.signal('SIGKILL')
    await process.ended
  }

  /** SIGTERM; kill -9 if that takes longer than any stop. */
  async stop(): Promise<void> {
    const process = this.#process
    if (process === undefined) return
    this.#ended.add(process)
    await process.stop()
    await process.ended
  }

  /** What was not on the disk is gone. The broker goes on for `agonyMs`, and nobody may be told yes in that time. */
  async cutPower(agonyMs: number): Promise<void> {
    if (this.#process !== undefined) this.#ended.add(this.#process)
    this.#darkUntilMs = Infinity
    await this.disk.cutPower()
    await sleep(agonyMs)
    await this.kill()
    this.#darkUntilMs = performance.now() + toldMsMax
    await this.disk.powerUp()
  }

  /** After `kill`. */
  async loseDisk(): Promise<void> {
    await rm(this.dataDirectory, { recursive: true, force: true })
  }

  /** For a process that is about to exit. */
  removeNow(): void {
    this.#process?.signal('SIGKILL')
    this.disk.removeNow()
  }

  #start(): void {
    const { broker, network, cluster, flags } = this.#options
    this.starts++
    const process = BrokerProcess.start({
      id: broker,
      port,
      httpPort: port + 1,
      rack: `rack-${broker}`,
      cluster,
      directory: this.dataDirectory,
      flags: { host: network.addressOf(this.party), 'allow-insecure': 'everything', ...flags },
      environment: this.slowDisk.environment,
      within: network.within(this.party),
      say: (line) => this.#said(line),
    })
    this.#process = process
    void this.#watch(process)
  }

  async #watch(process: BrokerProcess): Promise<void> {
    const isReady = await process.ready
    await process.ended
    if (this.#ended.has(process)) return
    // Who has never been in the cluster is told that etcd does not answer, and is started again.
    const isNew = isReady === undefined && !existsSync(join(this.dataDirectory, 'cluster.json'))
    if (isNew && withoutEtcd.test(this.#lastLine)) return
    this.#options.onFinding(`broker ${this.broker} ended by itself: ${this.#lastLine}`)
  }

  #said(line: string): void {
    const { broker, directory, onReport } = this.#options
    appendFileSync(join(directory, `broker-${broker}.log`), `${new Date().toISOString()} ${line}\n`)
    if (/fatal|error/i.test(line)) this.#lastLine = line
    onReport(this, line)
  }
}

export function partyOf(broker: number): string {
  return `broker-${broker}`
}
