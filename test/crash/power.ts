/**
 * `npm run test:power`: what needs root: power cuts and full disks, on ext4 file systems that are mounted for it.
 *   --only power|full   one of these
 *   --cuts N            power cuts (default 60)
 *   --fills N           times that a disk is full (default 10)
 *   --seed N            of the load (default: drawn, and printed)
 *   --report FILE       as of test:crash
 * Ends with 1 if anything was found.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { SeededRandom } from '../storage/seeded-random.ts'
import { faults } from './faults.ts'
import { FullDisk } from './full-disk.ts'
import { loadRun } from './load-run.ts'
import type { Target } from './load-run.ts'
import { LoopDisk, requireLoopDisks } from './loop-disk.ts'
import { Tally } from './tally.ts'

const diskBytes = 256 * 1024 * 1024
/** Of one file system and one broker's directory. */
const roundsPerRun = 10
/** After a cut the broker goes on for up to so long, and must not say yes to anything. */
const agonyMsMax = 60

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    cuts: { type: 'string', default: '60' },
    fills: { type: 'string', default: '10' },
    seed: { type: 'string' },
    report: { type: 'boolean' },
  },
})
requireLoopDisks()
const tally = new Tally()
const firstSeed = Number(values.seed ?? SeededRandom.fresh().seed)
const wants = (name: string) => values.only === undefined || values.only === name

let nextSeed = firstSeed
if (wants('power')) for (let done = 0; done < Number(values.cuts); done += roundsPerRun) await cutPower(nextSeed++)
if (wants('full')) for (let done = 0; done < Number(values.fills); done += roundsPerRun) await fillDisk(nextSeed++)
console.log(tally.text())
if (values.report === true) await tally.report('test:power', firstSeed)
process.exit(tally.findings.length > 0 ? 1 : 0)

async function cutPower(seed: number): Promise<void> {
  await using disk = await LoopDisk.make(diskBytes)
  const random = new SeededRandom(seed)
  const cut = async () => {
    await disk.cutPower()
    await sleep(random.below(agonyMsMax))
  }
  const harm = async ({ supervisor, inTheDark }: Target) => {
    await inTheDark(async () => {
      await supervisor.kill(cut)
      await disk.powerUp()
    })
    await supervisor.start()
  }
  await loadRun({ seed, rounds: roundsPerRun, parent: disk.path, fault: faults.powerCut, harm }, tally)
}

async function fillDisk(seed: number): Promise<void> {
  await using disk = await LoopDisk.make(diskBytes)
  let full: FullDisk | undefined
  const harm = async ({ supervisor, port, read }: Target) => {
    full ??= await FullDisk.open(disk.path, `127.0.0.1:${port}`)
    const { starts } = supervisor
    await full.run(async () => {
      if (!(await read())) tally.found(`${faults.diskFull}, seed ${seed}: found a read refused, wanted reads to go on`)
    })
    if (supervisor.starts !== starts) tally.found(`${faults.diskFull}, seed ${seed}: found a restart, wanted none`)
  }
  await loadRun({ seed, rounds: roundsPerRun, parent: disk.path, fault: faults.diskFull, harm }, tally)
  for (const finding of full?.findings ?? []) tally.found(`${faults.diskFull}, seed ${seed}: ${finding}`)
  await full?.close()
}
