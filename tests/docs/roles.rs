//! The ready ACL lines, made from the column `roles` of the command table: one command after the
//! other in `redis.conf.example`, and by category on the operating page.

use crate::reference::specs;
use crate::section;
use ltmc::command::acl::Role;

#[test]
fn the_example_configuration_has_a_line_for_each_role() {
    let line = |role: &Role| format!("# {}\n# {}\n#\n", role.about, role.by_names(specs()));
    section("redis.conf.example", "roles", &Role::ALL.iter().map(line).collect::<String>());
}

#[test]
fn the_operating_page_has_the_roles() {
    let mut made = String::from("| role | who | its keys |\n|---|---|---|\n");
    for role in Role::ALL {
        let keys = if role.keys.is_empty() { "none".into() } else { format!("`{}`", role.keys) };
        made += &format!("| `{}` | {} | {keys} |\n", role.name(), role.about);
    }
    made += "\nWhere the server has the category `@ltmc`, these lines say the same in fewer words:\n\n```\n";
    let by_category = Role::ALL.iter().filter_map(|role| role.by_category(specs()));
    by_category.for_each(|line| made += &format!("{line}\n"));
    made += "```\n\nThe auditor's line would be no shorter: it is the one in redis.conf.example.\n";
    section("scripts/README.md", "roles", &made);
}
