/** The commands about access and configuration: names, arguments, flags and their texts. Neighbours: program.ts adds them, access.ts is what they do. */
import type { Command } from 'commander'
import { integerOf } from './arguments.ts'
import type { Session } from './session.ts'

type MakeSession = () => Session

const collect = (value: string, before: string[] = []): string[] => [...before, value]
const count =
  (flag: string) =>
  (text: string): number =>
    integerOf(flag, text, 0)
const newPasswordText = 'file with the new password in its first line (default: asks)'

export function addAccess(program: Command, session: MakeSession): void {
  addUsers(program, session)
  addTokens(program, session)
  addGrants(program, session)
  program
    .command('whoami')
    .description('whom the broker takes this command line for, and what it may')
    .action(async () => (await import('./access.ts')).whoAmI(session()))
  const audit = program.command('audit').description('who did what, and who was refused what')
  audit
    .command('show')
    .description('print the audit events, one JSON line each')
    .action(async () => (await import('./audit.ts')).showAudit(session()))
  audit
    .command('verify')
    .description('follow the chain of hashes; exit code 1 when it is broken')
    .option('--head <hash>', 'a last hash written down earlier: it must be in the chain')
    .action(async (options) => (await import('./audit.ts')).verifyAudit(session(), options))
  program
    .command('config')
    .description('settings of the broker')
    .command('explain [name]')
    .description('every setting, what is in force here and who says so; file, environment and flags as for serve')
    .option('--config <file>', 'JSON file of settings')
    .option('--changed', 'only those that are not the default')
    .allowUnknownOption()
    .allowExcessArguments()
    .action(async (_name: string | undefined, options, command: Command) =>
      (await import('./config.ts')).configExplain(session(), options, command.args),
    )
}

function addUsers(program: Command, session: MakeSession): void {
  const user = program.command('user').description('create, list and delete users, and change passwords')
  user
    .command('create <name>')
    .description('create a user; it may do nothing until it is granted something')
    .option('--new-password-file <file>', newPasswordText)
    .action(async (name: string, options) => (await import('./access.ts')).createUser(session(), name, options))
  user
    .command('password <name>')
    .description('give a user another password; its connections are closed')
    .option('--new-password-file <file>', newPasswordText)
    .action(async (name: string, options) => (await import('./access.ts')).setPassword(session(), name, options))
  user
    .command('delete <name>')
    .description('delete a user with its grants and tokens; its connections are closed')
    .action(async (name: string) => (await import('./access.ts')).deleteUser(session(), name))
  user
    .command('list')
    .description('list users')
    .action(async () => (await import('./access.ts')).listUsers(session()))
}

function addTokens(program: Command, session: MakeSession): void {
  const token = program.command('token').description('create, list and revoke bearer tokens')
  token
    .command('create')
    .description('create a token and print it, once')
    .option('--for <principal>', 'whose rights it has, e.g. user:billing (default: your own)')
    .option(
      '--scope <right>',
      'what of those it has, "read topic:carts"; may be given several times (default: all)',
      collect,
      [],
    )
    .option('--expires <time>', 'after this time: 90s, 15m, 12h, 30d (default: never)')
    .option('--description <text>', 'what it is for')
    .action(async (options) => (await import('./access.ts')).createToken(session(), options))
  token
    .command('revoke <id>')
    .description('end a token; connections that came with it are closed')
    .action(async (id: string) => (await import('./access.ts')).revokeToken(session(), id))
  token
    .command('list')
    .description('list tokens')
    .action(async () => (await import('./access.ts')).listTokens(session()))
}

function addGrants(program: Command, session: MakeSession): void {
  const grant = program
    .command('grant')
    .description('give and take rights: read, append, create, admin on cluster, topic:…, stream:…/…, playhead:…/…')
  grant
    .command('add <principal> <operation> <pattern>')
    .description('give a right, as in: grant add user:billing read topic:carts')
    .action(async (principal: string, operation: string, pattern: string) =>
      (await import('./access.ts')).addGrant(session(), principal, operation, pattern),
    )
  grant
    .command('remove <principal> <operation> <pattern>')
    .description('take a right; in force at once')
    .action(async (principal: string, operation: string, pattern: string) =>
      (await import('./access.ts')).removeGrant(session(), principal, operation, pattern),
    )
  grant
    .command('list')
    .description('list grants')
    .action(async () => (await import('./access.ts')).listGrants(session()))
  const quota = program.command('quota').description('limit what principals may use')
  quota
    .command('set <principal>')
    .description('limits of one principal; what is not named has none')
    .option('--requests <count>', 'requests a second', count('--requests'))
    .option('--in-bytes <bytes>', 'request bytes a second', count('--in-bytes'))
    .option('--out-bytes <bytes>', 'reply bytes a second', count('--out-bytes'))
    .option('--connections <count>', 'connections', count('--connections'))
    .option('--default', "the broker's default again")
    .action(async (principal: string, options) => (await import('./access.ts')).setQuota(session(), principal, options))
  quota
    .command('list')
    .description('list quotas')
    .action(async () => (await import('./access.ts')).listQuotas(session()))
}
