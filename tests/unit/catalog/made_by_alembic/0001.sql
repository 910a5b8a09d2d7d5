BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE receipts (
	id TEXT NOT NULL,
	volume TEXT NOT NULL,
	strategy TEXT NOT NULL,
	cause TEXT NOT NULL,
	started FLOAT NOT NULL,
	finished FLOAT NOT NULL,
	outcome TEXT NOT NULL,
	steps JSON NOT NULL,
	processes JSON NOT NULL,
	requests_held INTEGER NOT NULL,
	errors_returned INTEGER NOT NULL,
	longest_wait_ms FLOAT NOT NULL,
	bytes_replayed BIGINT NOT NULL,
	verification TEXT NOT NULL,
	details JSON NOT NULL,
	PRIMARY KEY (id)
);
CREATE TABLE volumes (
	name TEXT NOT NULL,
	id TEXT NOT NULL,
	kind TEXT NOT NULL,
	size_bytes BIGINT NOT NULL,
	mount_path TEXT NOT NULL,
	filesystem TEXT NOT NULL,
	mount_options TEXT NOT NULL,
	label TEXT NOT NULL,
	uuid TEXT NOT NULL,
	owner_uid INTEGER NOT NULL,
	owner_gid INTEGER NOT NULL,
	mode INTEGER NOT NULL,
	fstab TEXT NOT NULL,
	leg_urls JSON NOT NULL,
	spare_urls JSON NOT NULL,
	journal TEXT NOT NULL,
	hold_timeout_seconds FLOAT NOT NULL,
	hang_timeout_seconds FLOAT NOT NULL,
	attached BOOLEAN NOT NULL,
	PRIMARY KEY (name),
	UNIQUE (id)
);
INSERT INTO "volumes" VALUES('bank','id-1','gated',1073741824,'/srv/bank','ext4','','','11111111-1111-1111-1111-111111111111',0,0,493,'','["file:/srv/1.img"]','[]','none',300.0,5.0,1);
CREATE INDEX receipts_by_volume ON receipts (volume, started);
CREATE INDEX receipts_by_time ON receipts (started);
COMMIT;
