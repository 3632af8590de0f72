/**
 * A broker's storage over a cache with one flipped bit, for many flips in turn: opens it, reads every stream, appends to some with an expected
 * version, stops, and does it again. A flip may end this process (LMDB is native): whoever started it starts it again with the same flip.
 * Prints a line for each flip that is done: its number and how it was found. Started by cache-flips.test.ts with a directory, a seed and flips from … to.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { cp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import { systemRandom } from '../../platform/random.ts'
import { isPlayheadError } from '../../protocol/errors.ts'
import { LogStore } from '../../storage/log-store.ts'
import { defaultStorageSettings } from '../../storage/storage-settings.ts'
import { SeededRandom } from './seeded-random.ts'
import { eventsOf } from './log-contents.ts'
import { group } from './store-under-test.ts'

const [directory = '', seed = '', from = '', to = ''] = process.argv.slice(2)
const pageBytes = 4096

interface State {
  /** Events of each stream. */
  readonly counts: Record<string, number>
  /** May have one more: its append was under way. */
  pending: string | undefined
}

/** Half of them anywhere, half where a page says what it is and where its entries stand. */
async function flip(path: string, random: SeededRandom): Promise<void> {
  const bytes = await readFile(path)
  const page = random.below(bytes.length / pageBytes) * pageBytes
  const at = random.below(2) === 0 ? random.below(bytes.length) : page + random.below(160)
  bytes[at]! ^= 1 << random.below(8)
  await writeFile(path, bytes)
}

/** Opens what is there, checks that it serves what was written, and adds an event to one stream. */
async function live(data: string, state: State, stream: string, save: () => Promise<void>): Promise<string[]> {
  const reports: string[] = []
  await using store = await LogStore.open({
    directory: data,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    random: systemRandom,
    settings: { ...defaultStorageSettings, tailCacheBytes: 0 },
    report: (_, message) => reports.push(message),
    onFatal: (error) => {
      throw error
    },
  })
  const log = store.log('carts', 0)
  const { counts } = state
  for (const name of Object.keys(counts)) {
    const events = await eventsOf(log, name, { limit: 100 })
    if (name === state.pending && events.length > counts[name]!) counts[name]!++
    const wanted = Array.from({ length: counts[name]! }, (_, version) => `${version}=${name} ${version}`)
    assert.deepEqual(events, wanted, `stream ${name}`)
  }
  state.pending = stream
  await save()
  const next = counts[stream]!
  const stale = log.append(group([`${stream}=wrong`], { expected: [{ stream, version: next - 2 }] }))
  await assert.rejects(stale, (error) => isPlayheadError(error, 'wrongExpectedVersion'))
  await log.append(group([`${stream}=${stream} ${next}`], { expected: [{ stream, version: next - 1 }] }))
  counts[stream] = next + 1
  state.pending = undefined
  await save()
  return reports
}

const counts = await readFile(join(directory, 'counts.json'), 'utf8')
for (let number = Number(from); number < Number(to); number++) {
  const random = new SeededRandom(Number(seed) + number)
  const data = join(directory, `flip-${number}`)
  const stateFile = `${data}.json`
  if (!existsSync(data)) {
    await rm(`${data}.new`, { recursive: true, force: true })
    await cp(join(directory, 'origin'), `${data}.new`, { recursive: true })
    await flip(join(`${data}.new`, 'cache', 'data.mdb'), random)
    await writeFile(stateFile, JSON.stringify({ counts: JSON.parse(counts) as unknown }))
    await rename(`${data}.new`, data)
  }
  const state = JSON.parse(await readFile(stateFile, 'utf8')) as State
  const reports: string[] = []
  let isFound = false
  for (let round = 0; round < 2 || isFound; round++) {
    const stream = random.pick(Object.keys(state.counts))
    try {
      reports.push(...(await live(data, state, stream, () => writeFile(stateFile, JSON.stringify(state)))))
      isFound = false
    } catch (error) {
      // Named, and nothing served; the next start must have wiped it.
      if (isFound || !isPlayheadError(error, 'damagedData')) throw error
      isFound = true
      reports.push(error.message)
    }
  }
  process.stdout.write(`${number} ${JSON.stringify(reports.slice(0, 3))}\n`)
  await rm(data, { recursive: true })
  await rm(stateFile)
}
