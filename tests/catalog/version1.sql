-- A catalog with one image, one version and one node, at schema version 1.
CREATE TABLE images ( id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, next_number INTEGER NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE versions ( id INTEGER PRIMARY KEY, image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE RESTRICT, number INTEGER NOT NULL CHECK (number > 0), state TEXT NOT NULL CHECK (state IN ('draft', 'sealed', 'active', 'retired')), path TEXT NOT NULL UNIQUE, format TEXT NOT NULL, size_bytes INTEGER NOT NULL CHECK (size_bytes > 0), sha256 TEXT NOT NULL, source_sha256 TEXT NOT NULL, file_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, guard TEXT NOT NULL, in_place INTEGER NOT NULL CHECK (in_place IN (0, 1)), parent_id INTEGER REFERENCES versions (id) ON DELETE RESTRICT, created_at TEXT NOT NULL, UNIQUE (image_id, number));
CREATE UNIQUE INDEX versions_active ON versions (image_id) WHERE state = 'active';
CREATE INDEX versions_parent ON versions (parent_id);
CREATE TABLE nodes ( id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE RESTRICT, version_id INTEGER REFERENCES versions (id) ON DELETE RESTRICT, policy TEXT NOT NULL CHECK (policy IN ('keep', 'reset')), chap_user TEXT, created_at TEXT NOT NULL, seen_at TEXT, seen_address TEXT);
CREATE INDEX nodes_image ON nodes (image_id);
CREATE INDEX nodes_version ON nodes (version_id);
CREATE TABLE macs ( mac TEXT PRIMARY KEY, node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE);
CREATE INDEX macs_node ON macs (node_id);
CREATE TABLE rules ( node_id INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE, kind TEXT NOT NULL CHECK (kind IN ('initiator')), value TEXT NOT NULL, PRIMARY KEY (node_id, kind, value));
CREATE INDEX rules_value ON rules (kind, value);
INSERT INTO images VALUES (1, 'lab', 2, '2026-11-01T12:00:00Z');
INSERT INTO versions VALUES (1, 1, 1, 'active', 'images/lab@1.vhd', 'vhd', 1048576, 'aa', 'bb', 1049088, 1, 'cc', 0, NULL,
  '2026-11-01T12:00:00Z');
INSERT INTO nodes VALUES (1, 'pc-1', 1, NULL, 'keep', NULL, '2026-11-01T12:00:00Z', NULL, NULL);
INSERT INTO macs VALUES ('52:54:00:12:34:56', 1);
INSERT INTO rules VALUES (1, 'initiator', 'any');
PRAGMA user_version = 1;
