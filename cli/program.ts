/**
 * The command tree: names, arguments, flags and their texts, and nothing else: each command's code is loaded when it is called.
 * Neighbours: main.ts runs it, completion.ts reads it.
 */
import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { addAccess } from './access-commands.ts'
import { integerOf, secondsOf } from './arguments.ts'
import { addBench } from './bench/bench-commands.ts'
import { addCluster } from './cluster-commands.ts'
import { packagePath } from './demo/package-path.ts'
import { LineWriter } from './line-writer.ts'
import { Session } from './session.ts'
import type { GlobalOptions } from './session.ts'

export interface ProgramOutcome {
  exitCode: number
}

/** An option given several times. */
const collect = (value: string, before: string[] = []): string[] => [...before, value]

const integer =
  (flag: string, least: number) =>
  (text: string): number =>
    integerOf(flag, text, least)

/** `outcome` gets the exit code of the command that has one of its own: verify. */
export function buildProgram(outcome: ProgramOutcome): Command {
  const program = new Command('playhead')
    .description('Event store and append-only log broker: record, rewind, replay, rederive.')
    .version(release())
    .option('--server <host:port,…>', 'broker to talk to (default: PLAYHEAD_SERVER, else localhost:7420)')
    .option(
      '--timeout <seconds>',
      'fail as unavailable after this long without progress',
      (text) => secondsOf('--timeout', text),
      10,
    )
    .option('--user <name>', 'user to be, with --password-file (default: PLAYHEAD_USER)')
    .option('--password-file <file>', 'file with its password in the first line (default: PLAYHEAD_PASSWORD_FILE)')
    .option('--token-file <file>', 'file with a token (default: PLAYHEAD_TOKEN, PLAYHEAD_TOKEN_FILE)')
    .option('--tls', 'TLS, also where the address does not begin with playheads://')
    .option('--authority-file <file>', 'PEM: whose certificate the broker has (default: PLAYHEAD_AUTHORITY_FILE)')
    .option('--certificate-file <file>', 'PEM: own certificate (default: PLAYHEAD_CERTIFICATE_FILE)')
    .option('--key-file <file>', 'PEM: its key (default: PLAYHEAD_KEY_FILE)')
    .option('--json', 'answer in JSON where the answer is for people otherwise')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
  const session = (): Session => new Session(program.opts<GlobalOptions>(), new LineWriter(process.stdout))
  addServe(program, session)
  addTopic(program, session)
  addStream(program, session)
  addWriting(program, session)
  addReading(program, session)
  addOperating(program, session, outcome)
  addCluster(program, session, outcome)
  addAccess(program, session)
  addBench(program, session)
  return program
}

function release(): string {
  return (JSON.parse(readFileSync(packagePath('package.json'), 'utf8')) as { version: string }).version
}

type MakeSession = () => Session

function addServe(program: Command, session: MakeSession): void {
  program
    .command('serve')
    .description('run a broker until SIGTERM or Ctrl-C')
    .option('--data <dir>', 'data directory; created when it is missing (default: playhead-data)')
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('--port <port>', 'port of the native protocol; 0 = any free one (default: 7420)')
    .option('--http-port <port>', 'port of the HTTP interface; 0 = any free one (default: 7421)')
    .option('--tier <url>', 'object storage for sealed segments: s3://bucket/prefix?endpoint=… or file:///path')
    .option('--read-only', 'serve what the tier has as of now, change nothing')
    .option('--config <file>', 'JSON file of settings; docs/configuration.md lists them all, each is a flag too')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(async (options: Record<string, string | boolean>, command: Command) => {
      const { serve } = await import('./serve.ts')
      // A broker that could not stop in time has things open which would keep the process.
      process.exit(await serve(session(), options, command.args))
    })
}

function addTopic(program: Command, session: MakeSession): void {
  const topic = program.command('topic').description('create, list, describe, alter, trim and delete topics')
  topic
    .command('create <name>')
    .description('create a topic')
    .option(
      '--partitions <count>',
      'partitions; cannot change once there are streams (default: 1)',
      integer('--partitions', 1),
    )
    .option('--replication-factor <count>', 'copies (default: 1)', integer('--replication-factor', 1))
    .option('--config <key=value>', 'a setting; may be given several times', collect, [])
    .action(async (name: string, options) => (await import('./topic.ts')).createTopic(session(), name, options))
  topic
    .command('list')
    .description('list topics')
    .option('--internal', "the broker's own topics too")
    .action(async (options) => (await import('./topic.ts')).listTopics(session(), options))
  topic
    .command('describe <name>')
    .description('show settings, partitions and offsets')
    .action(async (name: string) => (await import('./topic.ts')).describeTopic(session(), name))
  topic
    .command('alter <name>')
    .description('change settings')
    .option(
      '--config <key=value>',
      'a setting; `key=` sets it back to its default; may be given several times',
      collect,
      [],
    )
    .action(async (name: string, options) => (await import('./topic.ts')).alterTopic(session(), name, options))
  topic
    .command('trim <name>')
    .description('remove the oldest events of a topic; asks first')
    .requiredOption('--before <place>', 'end, an offset (one partition) or a time, which is when they were appended')
    .option('--partition <number>', 'only this partition', integer('--partition', 0))
    .option('--yes', 'do not ask')
    .action(async (name: string, options) => (await import('./topic.ts')).trimTopic(session(), name, options))
  topic
    .command('delete <name>')
    .description('delete a topic with all its events; asks first')
    .option('--yes', 'do not ask')
    .action(async (name: string, options) => (await import('./topic.ts')).deleteTopic(session(), name, options))
}

function addStream(program: Command, session: MakeSession): void {
  const stream = program.command('stream').description('say how much of one stream is kept')
  stream
    .command('limit <topic> <stream>')
    .description('show what is kept of a stream, or keep less of it; 0 takes a limit away')
    .option('--max-count <events>', 'keep the newest events', integer('--max-count', 0))
    .option('--max-age <ms>', 'keep events for this long after their append', integer('--max-age', 0))
    .option('--truncate-before <version>', 'keep events from this version on', integer('--truncate-before', 0))
    .action(async (topic: string, name: string, options) =>
      (await import('./stream.ts')).limitStream(session(), topic, name, options),
    )
  stream
    .command('delete <topic> <stream>')
    .description('delete all events of a stream; its versions are never used again; asks first')
    .option('--yes', 'do not ask')
    .action(async (topic: string, name: string, options) =>
      (await import('./stream.ts')).deleteStream(session(), topic, name, options),
    )
}

function addWriting(program: Command, session: MakeSession): void {
  program
    .command('append <topic> <stream>')
    .description('append one event, durable when this returns')
    .requiredOption('--type <type>', 'what happened')
    .requiredOption('--data <json>', 'the data, as JSON')
    .option('--expected-version <version>', 'number of the last event, none, or any (default: any)')
    .option('--id <uuid>', 'id of the event (default: a new UUIDv7)')
    .option('--tag <tag>', 'a tag; may be given several times', collect, [])
    .option('--time <time>', 'when it happened (default: now)')
    .action(async (topic: string, stream: string, options) =>
      (await import('./append.ts')).append(session(), topic, stream, options),
    )
  program
    .command('import <topic> <file>')
    .description(
      'append the rows of a CSV or NDJSON file, .gz too; run it again after an interruption: nothing is there twice',
    )
    .requiredOption('--stream <column>', 'column that names the stream')
    .option(
      '--else-stream <name>',
      'stream of rows whose stream column is empty (default: such a row stops the import)',
    )
    .requiredOption('--type <column|=literal>', 'column with the event type, or =TYPE for all')
    .option('--time <column>', 'column with the time of the event (default: now)')
    .option('--number <column>', 'column of numbers, the others are text; may be given several times', collect, [])
    .option('--format <csv|ndjson>', "format (default: by the file's name)")
    .action(async (topic: string, file: string, options) =>
      (await import('./import.ts')).importCommand(session(), topic, file, options),
    )
}

function consistencyOption(): Option {
  const text = 'linearizable: everything acknowledged before the command began (default: committed)'
  return new Option('--consistency <which>', text).choices(['committed', 'linearizable'])
}

function addReading(program: Command, session: MakeSession): void {
  program
    .command('read <topic> <stream>')
    .description('print the events of one stream, one JSON line each')
    .option('--from <version>', 'first version', integer('--from', 0))
    .option('--limit <count>', 'events at most', integer('--limit', 1))
    .option('--backwards', 'newest first')
    .option('--as-of <time>', 'only what had happened by then')
    .option('--known-at <time>', 'only what had been appended by then')
    .addOption(consistencyOption())
    .action(async (topic: string, stream: string, options) =>
      (await import('./read.ts')).read(session(), topic, stream, options),
    )
  program
    .command('replay <topic>')
    .description('print the events of a topic, one JSON line each')
    .option('--from <place>', 'start, end, an offset (one partition) or a time (default: start, or where --as stands)')
    .option('--partition <number>', 'only this partition', integer('--partition', 0))
    .option('--limit <count>', 'events at most', integer('--limit', 1))
    .option('--follow', 'wait for more at the end')
    .option('--type <type>', 'only events of this type; may be given several times', collect, [])
    .option('--as <name>', 'go on where this named playhead stands')
    .option('--commit', 'move the playhead (--as) past what was printed')
    .addOption(consistencyOption())
    .action(async (topic: string, options) => (await import('./replay.ts')).replay(session(), topic, options))
  program
    .command('rewind <topic> <name>')
    .description('show what moving a named playhead would do; move it with --execute')
    .requiredOption('--to <place>', 'start, end, an offset (one partition) or a time')
    .option('--partition <number>', 'only in this partition', integer('--partition', 0))
    .option('--execute', 'move it')
    .action(async (topic: string, name: string, options) =>
      (await import('./rewind.ts')).rewind(session(), topic, name, options),
    )
  program
    .command('streams <topic>')
    .description('print the streams of a topic, one JSON line each')
    .option('--prefix <text>', 'only names that begin with this')
    .option('--limit <count>', 'streams at most', integer('--limit', 1))
    .action(async (topic: string, options) => (await import('./streams.ts')).streams(session(), topic, options))
}

function addOperating(program: Command, session: MakeSession, outcome: ProgramOutcome): void {
  program
    .command('verify')
    .description('read every byte of a data directory whose broker is stopped; exit code 1 on damage')
    .requiredOption('--data <dir>', 'data directory')
    .action(async (options) => {
      const { verify } = await import('./verify.ts')
      outcome.exitCode = await verify(session(), options)
    })
  addTier(program, session, outcome)
  program
    .command('backup')
    .description('copy a data directory into a new one, while its broker goes on')
    .requiredOption('--data <dir>', 'data directory')
    .requiredOption('--to <dir>', 'where to; new or empty')
    .action(async (options) => (await import('./backup.ts')).backupCommand(session(), options))
  program
    .command('restore')
    .description('make a data directory of a backup; nothing that is there is overwritten')
    .requiredOption('--from <dir>', 'the backup')
    .requiredOption('--data <dir>', 'data directory to make; new or empty')
    .option('--at <time>', 'as it was at this moment (default: all that is in the backup)')
    .action(async (options) => (await import('./backup.ts')).restoreCommand(session(), options))
  program
    .command('dump')
    .description('print what is in a file of a data directory')
    .command('segment <file>')
    .description('print a segment file frame by frame, and its sidecar; what is damaged is named and gone past')
    .option('--records', 'the records of each batch too')
    .action(async (file: string, options) => {
      const { dumpSegmentFile } = await import('./dump-segment.ts')
      outcome.exitCode = await dumpSegmentFile(session(), file, options)
    })
  program
    .command('status')
    .description('what the broker is and uses')
    .action(async () => (await import('./status.ts')).status(session()))
  program
    .command('top')
    .description(
      'what the broker is doing: rates by topic, what readers have still to read; renews itself on a terminal',
    )
    .option('--interval <seconds>', 'time between readings (default: 2)', (text) => secondsOf('--interval', text))
    .option('--once', 'one reading')
    .action(async (options) => (await import('./top.ts')).top(session(), options))
  program
    .command('completion <shell>')
    .description('print a completion script for bash, zsh or fish')
    .action(async (shell: string) => (await import('./completion.ts')).completion(session(), program, shell))
  program
    .command('demo')
    .description(
      'the tour: a real shop, recorded, rewound, replayed, rederived; on a temporary broker unless --server is given',
    )
    .action(async () => (await import('./demo-command.ts')).demoCommand(session()))
}

function addTier(program: Command, session: MakeSession, outcome: ProgramOutcome): void {
  const tier = program.command('tier').description('look at, check and restore what is in object storage')
  const location = ['--tier <url>', 's3://bucket/prefix?endpoint=… or file:///path'] as const
  tier
    .command('ls [topic]')
    .description('what the tier has of each partition')
    .requiredOption(...location)
    .action(async (topic: string | undefined, options) =>
      (await import('./tier.ts')).listTier(session(), topic, options),
    )
  tier
    .command('verify')
    .description('read every object of the tier and compare it with its manifest; exit code 1 on damage')
    .requiredOption(...location)
    .action(async (options) => {
      outcome.exitCode = await (await import('./tier.ts')).verifyTierCommand(session(), options)
    })
  tier
    .command('restore')
    .description('make a data directory from the tier alone; the broker that was lost can write to the tier no more')
    .requiredOption('--from <url>', location[1])
    .requiredOption('--data <dir>', 'data directory; empty, or made')
    .action(async (options) => (await import('./tier.ts')).restoreCommand(session(), options))
}
