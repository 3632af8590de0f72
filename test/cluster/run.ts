/**
 * `npm run cluster`: etcd and three brokers on this machine, for whoever develops Playhead or wants to see a cluster; data in data/cluster, kept for the next time.
 *   --brokers N     (default 3)
 *   --port P        of the first broker, its HTTP interface one above, the next brokers 10 further each; 0 = any free ones (default 7420)
 *   --data DIR      (default data/cluster)
 * While it runs it takes lines: `kill 2`, `pause 2`, `resume 2`, `start 2`, the same with `etcd`, and `quit`.
 */
import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { EtcdServer } from '../replication/etcd-server.ts'
import { BrokerProcess } from './broker-process.ts'

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '3' },
    port: { type: 'string', default: '7420' },
    data: { type: 'string', default: 'data/cluster' },
  },
})
const count = Number(values.brokers)
const firstPort = Number(values.port)
const directory = resolve(values.data)
await mkdir(directory, { recursive: true })

// Below the brokers', so that neither this etcd nor another one of this machine is in the way.
const etcdPorts = firstPort === 0 ? undefined : ([firstPort - 20, firstPort - 19] as const)
const etcd = await EtcdServer.start({ directory: join(directory, 'etcd'), ports: etcdPorts })
const brokers = new Map<number, BrokerProcess>()
let isEnding = false
process.once('SIGINT', () => void end())
process.once('SIGTERM', () => void end())
console.log(`etcd is ready: ${etcd.member}`)

await Promise.all(Array.from({ length: count }, (_, place) => start(place + 1)))
console.log(`\n  try next, in another terminal:
    playhead topic create carts --replication-factor ${Math.min(3, count)} --server ${servers()}
    playhead cluster status --server ${servers()}
  and here: kill 2, start 2, pause 1, resume 1, kill etcd, start etcd, quit\n`)
createInterface({ input: process.stdin }).on('line', (line) => void obey(line.trim().toLowerCase()))

async function start(id: number): Promise<void> {
  const port = firstPort === 0 ? 0 : firstPort + 10 * (id - 1)
  const broker = BrokerProcess.start({
    id,
    port,
    httpPort: port === 0 ? 0 : port + 1,
    rack: `rack-${id}`,
    cluster: `etcd://${etcd.member}`,
    directory: join(directory, `broker-${id}`),
  })
  brokers.set(id, broker)
  const ready = await broker.ready
  console.log(
    ready === undefined
      ? `broker ${id} has ended`
      : `broker ${id} is ready: port ${ready.port}, HTTP ${ready.httpPort}`,
  )
}

function servers(): string {
  return [...brokers.values()].flatMap(({ port }) => (port === undefined ? [] : [`127.0.0.1:${port}`])).join(',')
}

async function obey(line: string): Promise<void> {
  const [, verb = '', what = ''] = /^(kill|start|pause|resume) (etcd|\d+)$/.exec(line) ?? []
  if (line === 'quit') return end()
  if (what === 'etcd') return obeyEtcd(verb)
  const broker = brokers.get(Number(what))
  if (verb === '' || (broker === undefined && verb !== 'start')) {
    if (line !== '')
      console.log(`found ${JSON.stringify(line)}, wanted kill, start, pause or resume with a broker or etcd, or quit`)
  } else if (verb === 'start') {
    if (broker?.isRunning === true) console.log(`broker ${what} runs`)
    else await start(Number(what))
  } else if (verb === 'kill') broker?.signal('SIGKILL')
  else broker?.signal(verb === 'pause' ? 'SIGSTOP' : 'SIGCONT')
}

async function obeyEtcd(verb: string): Promise<void> {
  if (verb === 'kill') await etcd.kill()
  else if (verb === 'start') await etcd.start()
  else if (verb === 'pause') etcd.pause()
  else etcd.resume()
  console.log(`etcd: ${verb} done`)
}

/** Brokers first: they hand over what they lead, the last one keeps it. */
async function end(): Promise<void> {
  if (isEnding) return
  isEnding = true
  console.log('stopping')
  await Promise.all([...brokers.values()].map((broker) => broker.stop()))
  await etcd[Symbol.asyncDispose]()
  process.exit(0)
}
