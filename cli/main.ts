/**
 * playhead: the command line. Runs the one command that was asked for and turns how it ends into a message on stderr and an exit code.
 * Started by bin/playhead; program.ts has the commands, failure-report.ts the endings.
 */
import { CommanderError } from 'commander'
import { exitUsage, failureReport } from './failure-report.ts'
import { buildProgram } from './program.ts'

const outcome = { exitCode: 0 }
// Nobody may be left to read our messages; that changes nothing about what a command does.
process.stderr.on('error', () => {})

try {
  await buildProgram(outcome).parseAsync(process.argv)
  process.exitCode = outcome.exitCode
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has said what is wrong; help and version end with 0.
    process.exitCode = error.exitCode === 0 ? 0 : exitUsage
  } else {
    const { text, exitCode } = failureReport(error)
    process.stderr.write(text)
    process.exitCode = exitCode
  }
}
