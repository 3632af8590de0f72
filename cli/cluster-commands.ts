/** The commands about a cluster: names, arguments, flags and their texts. Neighbours: program.ts adds them, cluster.ts and the files beside it are what they do. */
import type { Command } from 'commander'
import { brokerIdsOf, integerOf } from './arguments.ts'
import type { Session } from './session.ts'

const partitionOf = (text: string): number => integerOf('--partition', text, 0)
const brokerOf = (flag: string) => (text: string) => integerOf(flag, text, 0)
const noWait = ['--no-wait', 'return once it is decided; playhead cluster status shows how far it is'] as const

export function addCluster(program: Command, session: () => Session, outcome: { exitCode: number }): void {
  const cluster = program
    .command('cluster')
    .description('how a cluster stands; move partitions, empty brokers, recover')
  cluster
    .command('status')
    .description('brokers and partitions; exit code 1 when a partition is offline or under-replicated')
    .option('--topic <name>', 'only the partitions of this one')
    .action(async (options) => {
      outcome.exitCode = await (await import('./cluster.ts')).clusterStatus(session(), options)
    })
  cluster
    .command('reassign <topic>')
    .description('move partitions to other brokers: they grow, catch up, and shrink; waits until they have')
    .option(
      '--replicas <ids>',
      'where to, as in 1,2,3: the first shall lead; of several partitions each begins one further',
      (text: string) => brokerIdsOf('--replicas', text),
    )
    .option('--partition <number>', 'only this partition', partitionOf)
    .option('--cancel', 'back to where they were before the move under way')
    .option(...noWait)
    .action(async (topic: string, options) =>
      (await import('./cluster-reassign.ts')).reassign(session(), topic, options),
    )
  cluster
    .command('throttle')
    .argument('[bytes-per-second]', 'of each broker, to all replicas that are being added to it', (text: string) =>
      integerOf('bytes-per-second', text, 1),
    )
    .description('limit what copying to new replicas takes, also of moves under way; what is in sync is not slowed')
    .option('--off', 'no limit any more')
    .action(async (bytesPerSecond: number | undefined, options) =>
      (await import('./cluster-throttle.ts')).throttle(session(), bytesPerSecond, options),
    )
  cluster
    .command('drain')
    .argument('<broker>', 'its id', brokerOf('broker'))
    .description('empty a broker, for good: its replicas move to others; exit code 1 when some cannot')
    .option('--leaders-only', 'only what it leads, until it starts again')
    .option('--undo', 'it is a broker like the others again')
    .option(...noWait)
    .action(async (broker: number, options) => {
      outcome.exitCode = await (await import('./cluster-drain.ts')).drain(session(), broker, options)
    })
  cluster
    .command('recover <topic>')
    .description('when all replicas that had everything are lost: make another one the truth; asks first')
    .requiredOption('--partition <number>', 'which partition', partitionOf)
    .requiredOption('--broker <id>', 'whose log shall count', brokerOf('--broker'))
    .option('--yes', 'do not ask')
    .action(async (topic: string, options) => (await import('./cluster-recover.ts')).recover(session(), topic, options))
}
