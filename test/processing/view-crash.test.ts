/** A view whose process is killed again and again: state and offsets must never part. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { lmdbViewStore, view } from '../../processing/index.ts'
import { revenue } from './sale.ts'
import { Shop } from './shop.ts'

const program = fileURLToPath(new URL('derive.ts', import.meta.url))
const seed = Number(process.env['PLAYHEAD_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** Small, and good enough to choose moments with (mulberry32). */
function randomOf(start: number): (below: number) => number {
  let state = start
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

/** Runs the deriving process; kills it `afterMs` after its commit number `commits`. Answers whether it was killed. */
async function deriveUntilKilled(shop: Shop, directory: string, commits: number, afterMs: number): Promise<boolean> {
  const child = spawn(process.execPath, [program, shop.server, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
  let seen = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    seen += text.split('\n').length - 1
    if (seen >= commits) setTimeout(() => child.kill('SIGKILL'), afterMs)
  })
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  assert.ok(code === 0 || signal === 'SIGKILL', `found exit ${code} ${signal}`)
  return signal === 'SIGKILL'
}

test(`view crash: killed at 8 random commits, it counts every event once (600 sales and more between, seed ${seed})`, async () => {
  const random = randomOf(seed)
  await using shop = await Shop.open(2)
  const directory = join(shop.directory, 'views')
  for (let round = 0; round < 30; round++) await shop.sell(20)
  let killed = 0
  for (let round = 0; round < 8; round++) {
    if (await deriveUntilKilled(shop, directory, 1 + random(10), random(4))) killed++
    await shop.sell(20)
  }
  assert.ok(killed > 0, 'no kill came in time')
  await using store = lmdbViewStore(directory)
  const byCountry = view({ ...revenue, topic: shop.topic, store })
  assert.equal((await byCountry.catchUp()).events, shop.sold)
  assert.deepEqual(new Map(byCountry.entries()), shop.sums)
})
