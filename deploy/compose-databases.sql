-- Run once, when the MySQL container of compose.yaml makes its data folder.
CREATE DATABASE IF NOT EXISTS etl_pipeline_metadata;
CREATE DATABASE IF NOT EXISTS raw_data;
GRANT ALL ON etl_pipeline_metadata.* TO 'loadline'@'%';
GRANT ALL ON raw_data.* TO 'loadline'@'%';
