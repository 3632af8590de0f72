import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { completionScript } from '../../cli/completion.ts'
import { buildProgram } from '../../cli/program.ts'

const program = buildProgram({ exitCode: 0 })

/** What bash offers after these words, the last of which is being typed. */
function offered(...words: string[]): string[] {
  const script = `${completionScript(program, 'bash')}
COMP_WORDS=(playhead ${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length}
_playhead
printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['-c', script], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
}

test('completion: bash offers commands, commands of topic, and the flags of each', () => {
  const names = program.commands.map((command) => command.name())
  assert.deepEqual(
    offered('').filter((word) => !word.startsWith('-')),
    names,
  )
  assert.deepEqual(offered('re'), ['read', 'replay', 'rewind', 'restore'])
  assert.deepEqual(offered('topic', 'd'), ['describe', 'delete'])
  assert.deepEqual(offered('read', 'topic', '17850', '--as'), ['--as-of'])
  assert.deepEqual(offered('topic', 'create', 'carts', '--part'), ['--partitions'])
  assert.deepEqual(offered('--server', 'localhost:1', 'append', 'carts', 'c', '--exp'), ['--expected-version'])
  assert.ok(offered('status', '--').includes('--server'))
})

test('completion: every command and flag of the tree is in each script', () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const script = completionScript(program, shell)
    const walk = (command: typeof program): void => {
      for (const child of command.commands) {
        assert.ok(script.includes(child.name()), `${shell}: ${child.name()}`)
        for (const { long } of child.options) assert.ok(script.includes((long ?? '').slice(2)), `${shell}: ${long}`)
        walk(child)
      }
    }
    walk(program)
  }
})
