/** The four bench commands: names, flags and their texts; bench-command.ts runs them. Called by program.ts. */
import type { Command } from 'commander'
import { integerOf, secondsOf } from '../arguments.ts'
import type { Session } from '../session.ts'
import type { BenchFlags, BenchWork } from './bench-settings.ts'

const descriptions: Readonly<Record<BenchWork, string>> = {
  produce: 'write records through the producer, one call each; latency: sent to acknowledged',
  consume: "read a topic from its start, touching every record; latency: the reader's wait for each batch",
  'end-to-end': 'write at a rate and follow at the same time; latency: due to received',
  stream: 'append single events with an expected version, then read streams; latency of both',
}

export function addBench(program: Command, session: () => Session): void {
  const bench = program
    .command('bench')
    .description('measure a broker: throughput, latency, processor time and memory; writes to the topic named')
  for (const work of Object.keys(descriptions) as BenchWork[]) addWork(bench, work, session)
}

/** All four know the same flags, so that a line of flags serves them all; one that means nothing is named on stderr. */
function addWork(bench: Command, work: BenchWork, session: () => Session): void {
  const integer = (flag: string, least: number) =>
    [flag, (text: string) => integerOf(flag.split(' ')[0]!, text, least)] as const
  const add = ([flag, parse]: ReturnType<typeof integer>, text: string): Command => command.option(flag, text, parse)
  const command = bench
    .command(work)
    .description(descriptions[work])
    .requiredOption('--topic <name>', 'topic; created when it is missing')
  add(
    integer('--records <count>', 1),
    'records (default: produce 1,000,000, consume all, end-to-end 50,000, stream 100,000; with --duration no limit)',
  )
  add(integer('--record-bytes <bytes>', 0), 'bytes of a value (default: 100)')
  add(integer('--batch-bytes <bytes>', 1), 'bytes at which a batch leaves (default: 65536)')
  add(integer('--partitions <count>', 1), 'of a topic that is created; an existing one must have as many (default: 1)')
  add(integer('--streams <count>', 0), 'keys s-0, s-1 …, uniformly random; 0 = null keys (default: 0, stream 10,000)')
  command.option('--acks <all|leader|none>', 'when a record counts as written (default: all)')
  command.option('--linger <ms>', 'how long a batch waits to become full (default: 0)')
  add(
    integer('--in-flight <count>', 1),
    'requests per partition, or appends of stream, without an answer (default: 5, stream 64)',
  )
  command.option('--rate <records>', 'records a second in all (default: as fast as it goes, end-to-end 5,000)')
  command.option('--duration <seconds>', 'end after this time', (text) => secondsOf('--duration', text))
  command.option('--warm-up <seconds>', 'of end-to-end: latency counts after this time (default: 0)', (text) =>
    secondsOf('--warm-up', text),
  )
  command.option('--compression <none|gzip|zstd>', 'of batches (default: none)')
  add(integer('--connections <count>', 1), 'clients in this process (default: 1)')
  add(integer('--reads <count>', 0), 'streams that stream reads after its appends, ten events each (default: 10,000)')
  add(integer('--seed <number>', 0), 'of the random keys (default: a new one, printed)')
  command.action(async (flags: BenchFlags) => (await import('./bench-command.ts')).benchCommand(session(), work, flags))
}
