/** WarmReads under a clock of the test's own. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WarmReads } from '../../platform/warm-reads.ts'
import { SeededRandom } from '../storage/seeded-random.ts'

class Machine {
  ms = 0
  disk: number | undefined = 0
  readonly warm = new WarmReads({ nowMs: () => this.ms, diskReads: () => this.disk })

  /** One read that takes so long; false when it was not to be begun. */
  read(tookMs: number, diskReads: number): boolean {
    const startMs = this.warm.begin()
    if (startMs === undefined) return false
    this.ms += tookMs
    if (this.disk !== undefined) this.disk += diskReads
    this.warm.ended(startMs)
    return true
  }
}

test('warm reads: go on while they are quick, and rest twenty times as long as one took that met the disk', () => {
  const machine = new Machine()
  for (let count = 0; count < 100; count++) assert.ok(machine.read(0.01, 0))
  assert.ok(machine.read(5, 1))
  assert.equal(machine.read(0.01, 0), false)
  machine.ms += 99
  assert.equal(machine.read(0.01, 0), false)
  machine.ms += 1
  assert.ok(machine.read(0.01, 0))
})

test('warm reads: what took long without a disk being read does not end them, whatever others read during a rest', () => {
  const machine = new Machine()
  for (let count = 0; count < 10; count++) assert.ok(machine.read(50, 0))
  assert.ok(machine.read(1, 8))
  machine.ms += 10
  machine.disk = 1_000 // through the thread pool, by whoever was refused
  machine.ms += 10
  assert.ok(machine.read(50, 0))
  assert.ok(machine.read(50, 0))
})

test('warm reads: where nobody counts what disks read, long is long', () => {
  const machine = new Machine()
  machine.disk = undefined
  assert.ok(machine.read(0.2, 0))
  assert.ok(machine.read(1, 0))
  assert.equal(machine.read(0.01, 0), false)
})

test('warm reads: of any time about a twentieth passes waiting for disks (one that answers in 0.3 to 300 ms, a third in memory, always wanted)', () => {
  const random = SeededRandom.fresh()
  const machine = new Machine()
  let waitedMs = 0
  while (machine.ms < 1_000_000) {
    const isCold = random.below(3) > 0
    const tookMs = isCold ? 0.3 + random.below(3_000) / 10 : 0.005
    if (machine.read(tookMs, isCold ? 1 : 0)) waitedMs += isCold ? tookMs : 0
    else machine.ms += 0.1
  }
  assert.ok(waitedMs <= machine.ms / 20, `${waitedMs} of ${machine.ms} ms`)
  assert.ok(waitedMs > machine.ms / 100)
})
