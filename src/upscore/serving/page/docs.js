// The page of the API, made of its own description.

function element(name, text = '', ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function row(...cells) {
  return element('tr', '', ...cells);
}

function parameters(list) {
  const table = element('table');
  for (const { name, description, schema, required } of list) {
    const kind = schema.type ?? (schema.anyOf ?? []).map((one) => one.type).join(' or ');
    const name_ = element('th', '', element('code', name));
    name_.scope = 'row';
    table.append(row(name_, element('td', `${required ? '' : 'optional '}${kind}`),
      element('td', description ?? '')));
  }
  return table;
}

function answers(responses) {
  const table = element('table');
  for (const [status, { description, content }] of Object.entries(responses)) {
    const status_ = element('th', status);
    status_.scope = 'row';
    table.append(row(status_, element('td', description),
      element('td', Object.keys(content ?? {}).join(', '))));
  }
  return table;
}

function described(path, method, operation) {
  const title = element('h2', '', element('code', `${method.toUpperCase()} ${path}`),
    ` ${operation.summary}`);
  const section = element('section', '', title);
  const body = Object.keys(operation.requestBody?.content ?? {});
  if (body.length) section.append(element('p', `Body: ${body.join(' or ')}.`));
  if (operation.parameters) section.append(parameters(operation.parameters));
  section.append(answers(operation.responses));
  return section;
}

document.getElementById('address').textContent = location.origin;
const shown = document.getElementById('paths');
const answer = await fetch('/openapi.json');
const { paths } = await answer.json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    shown.append(described(path, method, operation));
  }
}
