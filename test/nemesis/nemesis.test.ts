/**
 * The short form of `npm run test:nemesis`, part of `npm test`: one round, its seed drawn. Needs root, iproute2, etcd and gcc, and fails naming what is missing.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { requireLoopDisks } from '../crash/loop-disk.ts'
import { SeededRandom } from '../storage/seeded-random.ts'
import { sessionMs } from './fleet.ts'
import { clients, MachineNetwork, requireNamespaces } from './machine-network.ts'
import { nemesisLife } from './nemesis-run.ts'

test('nemesis network: what one sends to the other is lost while that way is cut, and gets through again', async () => {
  requireNamespaces()
  const network = await MachineNetwork.make(['far'])
  const [near, far] = [network.addressOf(clients), network.addressOf('far')]
  const says =
    "require('node:dgram').createSocket('udp4').on('message', function (text, { port, address }) { this.send(text, port, address) })"
  const [command = '', ...args] = network.within('far')
  const echo = spawn(command, [...args, process.execPath, '-e', `${says}.bind(7, '${far}')`], { stdio: 'inherit' })
  const socket = createSocket('udp4')
  try {
    socket.bind(0, near)
    const answers = async (): Promise<boolean> => {
      const heard = once(socket, 'message', { signal: AbortSignal.timeout(500) })
      socket.send('?', 7, far)
      return await heard.then(
        () => true,
        () => false,
      )
    }
    while (!(await answers())) assert.equal(echo.exitCode, null)
    for (const [from, to] of [
      [clients, 'far'],
      ['far', clients],
    ] as const) {
      const mend = await network.cut(from, to)
      assert.equal(await answers(), false)
      await mend()
      assert.equal(await answers(), true)
    }
  } finally {
    socket.close()
    echo.kill('SIGKILL')
    await once(echo, 'exit')
    network.remove()
  }
})

const { seed } = SeededRandom.fresh()
const faultMs = 15_000

test(`nemesis (3 brokers, a real etcd, each in a network and on a disk of its own): the leader killed, ${faultMs / 1000} s of drawn faults, then a power cut of all: nothing lost, nothing twice, replicas the same, all in sync by itself (seed ${seed})`, async (t) => {
  requireNamespaces()
  requireLoopDisks()
  const { findings, rounds, directory } = await nemesisLife({ seed, rounds: 1, faultMs })
  assert.deepEqual(findings, [], `npm run test:nemesis -- --rounds 1 --seed ${seed}; logs and data: ${directory}`)
  const [round] = rounds
  assert.ok(round !== undefined && round.acknowledged > 0 && round.operations > 0)
  t.diagnostic(`${round.acknowledged} of ${round.appends} appends acknowledged, ${round.operations} operations judged`)
  t.diagnostic(`faults: ${JSON.stringify(round.faults)}`)
  t.diagnostic(`failover after ${Math.round(round.failoverMs)} ms, lease ${sessionMs} ms`)
})
