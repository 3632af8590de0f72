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
  read(tookMs: number, diskReads: number, failure?: Error): boolean {
    const { areLikely } = this.warm
    const isRead = this.warm.ifLikely(() => {
      this.ms += tookMs
      if (this.disk !== undefined) this.disk += diskReads
      if (failure !== undefined) throw failure
      return true
    })
    assert.equal(isRead ?? false, areLikely)
    return areLikely
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

test('warm reads: what took a while without a disk being read does not end them, whatever others read during a rest', () => {
  const machine = new Machine()
  for (let count = 0; count < 10; count++) assert.ok(machine.read(4, 0))
  assert.ok(machine.read(1, 8))
  machine.ms += 10
  machine.disk = 1_000 // through the thread pool, by whoever was refused
  machine.ms += 10
  assert.ok(machine.read(4, 0))
  assert.ok(machine.read(4, 0))
})

test('warm reads: very long is long, whatever is counted, and so is a while where nobody counts, or before a failure', () => {
  const [stalled, uncounted, failing] = [new Machine(), new Machine(), new Machine()]
  assert.ok(stalled.read(6, 0))
  assert.equal(stalled.read(0.01, 0), false)
  uncounted.disk = undefined
  assert.ok(uncounted.read(0.04, 0))
  assert.ok(uncounted.read(1, 0))
  assert.equal(uncounted.read(0.01, 0), false)
  assert.throws(() => failing.read(1, 0, new Error('bad sector')), /bad sector/)
  assert.equal(failing.read(0.01, 0), false)
  failing.ms += 20
  assert.ok(failing.read(0.01, 0))
})

test('warm reads: what is read during a rest all the same is not judged', () => {
  const machine = new Machine()
  assert.ok(machine.read(1, 1))
  machine.warm.measured(() => (machine.ms += 19))
  machine.ms += 2
  assert.ok(machine.read(0.01, 0))
})

test('warm reads: of any time about a twentieth passes waiting for disks (one that answers in 0.1 to 300 ms, a third in memory, always wanted)', () => {
  const random = SeededRandom.fresh()
  const machine = new Machine()
  let waitedMs = 0
  while (machine.ms < 1_000_000) {
    const isCold = random.below(3) > 0
    const tookMs = isCold ? 0.1 + random.below(3_000) / 10 : 0.005
    if (machine.read(tookMs, isCold ? 1 : 0)) waitedMs += isCold ? tookMs : 0
    else machine.ms += 0.1
  }
  assert.ok(waitedMs <= machine.ms / 20, `${waitedMs} of ${machine.ms} ms`)
  assert.ok(waitedMs > machine.ms / 100)
})
