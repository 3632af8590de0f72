import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configDoc } from '../../broker/config-explain.ts'
import { brokerSettings, flagOf, resolveConfig, variableOf } from '../../broker/config.ts'

test('later sources win: default, file, environment, flag', () => {
  const file = { port: 1, httpPort: 2, host: 'file' }
  const environment = { PLAYHEAD_HTTP_PORT: '3', PLAYHEAD_HOST: 'environment' }
  const config = resolveConfig({ file, environment, flags: { host: 'flag', data: undefined } })
  assert.equal(config.port, 1)
  assert.equal(config.httpPort, 3)
  assert.equal(config.host, 'flag')
  assert.equal(config.data, brokerSettings.data.default)
})

test('an unknown setting is refused, naming it and its source', () => {
  const cases: { sources: Parameters<typeof resolveConfig>[0]; names: RegExp }[] = [
    { sources: { file: { prot: 1 } }, names: /prot.*config file/ },
    { sources: { environment: { PLAYHEAD_PROT: '1' } }, names: /PLAYHEAD_PROT.*environment/ },
    { sources: { flags: { prot: '1' } }, names: /prot.*--prot/ },
    { sources: { file: { ['__proto__x']: 1 } }, names: /__proto__x/ },
    { sources: { file: { constructor: 1 } }, names: /constructor/ },
  ]
  for (const { sources, names } of cases) {
    assert.throws(() => resolveConfig(sources), { code: 'invalidConfiguration', message: names })
  }
})

test('a value out of range is refused, naming setting, value, range and source', () => {
  for (const value of [
    -1,
    65_536,
    1.5,
    Number.NaN,
    '',
    ' 1',
    '1e3',
    '0x10',
    '99999999999999999999',
    null,
    true,
    [],
    {},
  ]) {
    assert.throws(() => resolveConfig({ file: { port: value } }), {
      code: 'invalidConfiguration',
      message: /setting port: found .*wanted an integer from 0 to 65535 .*config file/,
    })
  }
  for (const value of ['', 'a\0b', 7, null]) {
    assert.throws(() => resolveConfig({ flags: { data: value } }), { code: 'invalidConfiguration', message: /--data/ })
  }
})

test("variables that are not settings of a broker are left alone: the client's, and what Kubernetes sets", () => {
  const environment = {
    PLAYHEAD_SERVER: 'localhost:1',
    PLAYHEAD_TEST: 'core',
    PLAYHEAD_PORT: 'tcp://10.0.0.1:7420',
    PLAYHEAD_PORT_7420_TCP: 'tcp://10.0.0.1:7420',
    PLAYHEAD_PORT_7420_TCP_ADDR: '10.0.0.1',
    PLAYHEAD_SERVICE_HOST: '10.0.0.1',
    PLAYHEAD_SERVICE_PORT_HTTP: '7421',
    PATH: '/bin',
  }
  assert.equal(resolveConfig({ environment }).port, 7420)
})

test('every default is in its range, and names map to flags and variables', () => {
  assert.equal(resolveConfig({}).port, 7420)
  for (const setting of Object.values(brokerSettings)) {
    if (setting.kind === 'integer') assert.ok(setting.default >= setting.min && setting.default <= setting.max)
  }
  assert.equal(flagOf('httpPort'), '--http-port')
  assert.equal(variableOf('httpPort'), 'PLAYHEAD_HTTP_PORT')
})

test('a secret is shown to nobody, neither as it is in force nor when it is refused', () => {
  const shown = configDoc({ environment: { PLAYHEAD_CLUSTER_PASSWORD: 'opensesame' } }, undefined)
  assert.ok(!JSON.stringify(shown).includes('opensesame'))
  const password = shown.find(({ name }) => name === 'clusterPassword')
  assert.deepEqual([password?.value, password?.source], ['(hidden)', 'environment: PLAYHEAD_CLUSTER_PASSWORD'])
  assert.equal(configDoc({}, 'clusterPassword')[0]?.value, '')
  assert.throws(
    () => resolveConfig({ flags: { clusterPassword: 'opensesame\0' } }),
    (error: Error) => !error.message.includes('opensesame') && error.message.includes('clusterPassword'),
  )
})
