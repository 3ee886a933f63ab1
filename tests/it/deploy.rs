//! What ships below `deploy/`: it can be read, it agrees with itself, and its config is one that loadline takes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize as _;
use serde_yaml::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join("deploy").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents of a YAML file.
fn documents(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| {
        let mut document = Value::deserialize(document)?;
        document.apply_merge()?;
        Ok::<_, serde_yaml::Error>(document)
    });
    documents.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn config(path: &str) -> Value {
    documents(path).remove(0)
}

/// A copy of the config in a folder with the schema file and the password that it names, and what `config` says of it.
fn checked(config: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("schemas")).unwrap();
    fs::create_dir(folder.path().join("secrets")).unwrap();
    let schema = "schemas/loan_applications.yaml";
    fs::copy(root().join(schema), folder.path().join(schema)).unwrap();
    fs::write(folder.path().join("secrets/mysql-password"), "not a real one\n").unwrap();
    fs::write(folder.path().join("config.yaml"), config).unwrap();
    let mut loadline = Command::new(env!("CARGO_BIN_EXE_loadline"));
    let variables = [("LOADLINE_BUCKET", "incoming"), ("LOADLINE_MYSQL", "mysql.example.org:3306")];
    let output = loadline.arg("config").envs(variables).current_dir(folder.path()).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_configs_are_accepted() {
    for path in ["config.yaml", "compose-config.yaml"] {
        let (accepted, said) = checked(&text(path));
        assert!(accepted, "{path}: {said}");
    }
}

#[test]
fn the_copies_of_the_config_are_the_same() {
    let ours = config("config.yaml");
    let mapped = documents("kubernetes/common.yaml").pop().unwrap();
    let mapped: Value = serde_yaml::from_str(mapped["data"]["config.yaml"].as_str().unwrap()).unwrap();
    assert_eq!(mapped, ours);
    let mut composed = config("compose-config.yaml");
    for database in ["metadata_database", "reporting_database"] {
        assert_eq!(composed[database]["tls"], "disabled");
        composed[database].as_mapping_mut().unwrap().remove("tls");
    }
    assert_eq!(composed, ours);
}

/// The pod's spec of a Kubernetes object.
fn pods() -> [Value; 2] {
    let deployment = config("kubernetes/deployment.yaml")["spec"]["template"]["spec"].clone();
    let cronjob = config("kubernetes/cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"]["spec"].clone();
    [deployment, cronjob]
}

#[test]
fn pods_have_no_rights_and_time_to_stop() {
    for pod in pods() {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 40);
        let containers = ["initContainers", "containers"].map(|kind| pod[kind].as_sequence().unwrap().clone()).concat();
        assert_eq!(containers.len(), 2);
        for container in containers {
            let context = &container["securityContext"];
            assert_eq!(
                (&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]),
                (&true.into(), &false.into())
            );
        }
    }
}

#[test]
fn exit_codes_are_told_apart() {
    let spec = config("kubernetes/cronjob.yaml")["spec"]["jobTemplate"]["spec"].clone();
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Never", "podFailurePolicy needs it");
    let action = |code: u64| {
        let rules = spec["podFailurePolicy"]["rules"].as_sequence().unwrap();
        let names = |rule: &&Value| {
            rule["onExitCodes"]["values"].as_sequence().is_some_and(|codes| codes.contains(&code.into()))
        };
        rules.iter().find(names).map(|rule| rule["action"].as_str().unwrap().to_owned())
    };
    assert_eq!([2, 3, 4].map(action), ["FailJob", "FailJob", "Count"].map(|action| Some(action.to_owned())));
}

#[test]
fn the_image_is_built_by_the_compiler_that_the_manifest_names() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let dockerfile = text("Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{version}-")), "another compiler than {version}");
    assert!(dockerfile.lines().any(|line| line.starts_with("USER ") && !line.contains("root")));
    for copied in
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--"))
    {
        let (sources, _) = copied.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(root().join(source).exists(), "{source} is not there to be copied");
        }
    }
    let compose = config("compose.yaml");
    assert_eq!(compose["services"]["loadline"]["build"]["dockerfile"], "deploy/Dockerfile");
    for service in ["loadline", "loadline-setup", "mysql"] {
        for mount in compose["services"][service]["volumes"].as_sequence().into_iter().flatten() {
            let host = mount.as_str().unwrap().split(':').next().unwrap();
            let is_path = host.starts_with('.');
            assert!(
                !is_path || root().join("deploy").join(host).exists(),
                "{service} mounts {host}, which is not there"
            );
        }
    }
}

/// The command line is one that the program takes, and the README tells of the command.
fn assert_takes(arguments: &[&str]) {
    let help = Command::new(env!("CARGO_BIN_EXE_loadline")).args(arguments).arg("--help").output().unwrap();
    let said = String::from_utf8_lossy(&help.stderr);
    assert!(help.status.success(), "loadline {}: {said}", arguments.join(" "));
    let command = arguments.last().unwrap();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.contains(&format!("### `loadline {command}`")), "`loadline {command}` is not in the README");
}

#[test]
fn units_run_commands_that_exist() {
    let folder = root().join("deploy/systemd");
    let mut commands = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("ExecStart=")) {
            assert_takes(&line.split(' ').skip(1).collect::<Vec<_>>());
            commands += 1;
        }
    }
    assert!(commands >= 4, "{commands}");
}

#[test]
fn containers_run_commands_that_exist() {
    let compose = config("compose.yaml");
    let composed = ["loadline", "loadline-setup"].map(|service| compose["services"][service]["command"].clone());
    let in_pods = pods()
        .into_iter()
        .flat_map(|pod| ["initContainers", "containers"].map(|kind| pod[kind].as_sequence().unwrap()[0].clone()));
    for arguments in composed.into_iter().chain(in_pods.map(|container| container["args"].clone())) {
        let arguments = arguments.as_sequence().unwrap();
        assert_takes(&arguments.iter().map(|argument| argument.as_str().unwrap()).collect::<Vec<_>>());
    }
}
