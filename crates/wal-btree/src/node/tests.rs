//! Nodes against a map, and their limits.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wal_format::PageId;

use super::*;

const PAGE_BYTES: usize = 512;

fn filled(count: usize, entry_bytes: usize) -> Page {
    let mut page = Page::zeroed(PAGE_BYTES);
    for index in 0..count {
        insert(&mut page, format!("{index:04}").as_bytes(), &vec![7; entry_bytes - 4]).unwrap();
    }
    page
}

#[test]
fn a_page_of_zeros_is_an_empty_leaf() {
    let page = Page::zeroed(PAGE_BYTES);
    assert_eq!((Node::of(&page).level(), Node::of(&page).count()), (0, 0));
    assert_eq!(Node::of(&page).get(b"key"), Ok(None));
    assert_eq!(Node::of(&page).check(), Ok(()));
}

#[test]
fn a_child_is_found_by_the_keys_around_it() {
    let mut page = Page::zeroed(PAGE_BYTES);
    let entries: Vec<Entry> = [(b"d", 11), (b"m", 12)]
        .map(|(key, child)| Entry::separator(key.to_vec(), PageId::new(child)))
        .into();
    fill(&mut page, 1, PageId::new(10), &entries).unwrap();
    let found = [b"a", b"d", b"e", b"m", b"z"].map(|key| Node::of(&page).child_of(key).unwrap());
    let expected = [(0, 10), (1, 11), (1, 11), (2, 12), (2, 12)];
    assert_eq!(found, expected.map(|(place, child)| (place, PageId::new(child))));
}

#[test]
fn an_entry_that_is_there_is_not_inserted_again_and_none_is_removed_twice() {
    let mut page = filled(3, 10);
    let before = page.clone();
    assert_eq!(insert(&mut page, b"0001", b"x"), Err(PageFault::Damaged));
    assert_eq!(remove(&mut page, b"0009"), Err(PageFault::Damaged));
    assert_eq!(page, before);
}

#[test]
fn both_halves_of_a_full_node_have_room_for_the_largest_entry() {
    let max = entry_bytes_max(PAGE_BYTES);
    for entry_bytes in [4, 20, 57, max] {
        let mut count = 0;
        while Node::of(&filled(count, entry_bytes)).fits(max / 2, max - max / 2) {
            count += 1;
        }
        let halves = halves(Node::of(&filled(count, entry_bytes))).unwrap();
        for half in [&halves.left, &halves.right] {
            let mut page = Page::zeroed(PAGE_BYTES);
            fill(&mut page, 0, PageId::NONE, half).unwrap();
            assert!(Node::of(&page).fits(max / 2, max - max / 2), "{entry_bytes} bytes");
        }
        assert_eq!(halves.right[0].key, halves.separator);
        assert_eq!(halves.left.len() + halves.right.len(), count);
    }
}

#[test]
fn the_middle_entry_of_an_inner_node_moves_up() {
    let mut page = Page::zeroed(PAGE_BYTES);
    let entry = |key: u8| Entry::separator(vec![key; 20], PageId::new(u64::from(key)));
    fill(&mut page, 2, PageId::new(0), &(1..=9).map(entry).collect::<Vec<_>>()).unwrap();
    let halves = halves(Node::of(&page)).unwrap();
    assert_eq!(halves.left.len() + 1 + halves.right.len(), 9);
    assert_eq!(halves.leftmost.get(), u64::from(halves.separator[0]));
    assert!(halves.right.iter().all(|entry| entry.key > halves.separator));
}

#[test]
fn bytes_that_are_no_node_are_refused_and_never_believed() {
    let page = filled(5, 30);
    for at in crate::page::BODY..PAGE_BYTES {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = page.clone();
            damaged.bytes_mut()[at] = value;
            let _ = Node::of(&damaged).check();
            let _ = Node::of(&damaged).entries();
            let _ = Node::of(&damaged).child_of(b"0003");
            let _ = insert(&mut damaged.clone(), b"00015", b"v");
            let _ = remove(&mut damaged, b"0003");
        }
    }
    let mut beyond = page;
    beyond.bytes_mut()[SLOTS..SLOTS + 2].fill(0xff);
    assert_eq!(Node::of(&beyond).entry(0), Err(PageFault::Damaged));
    assert_eq!(Node::of(&beyond).check(), Err(PageFault::Damaged));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_node_holds_what_a_map_holds(
        changes in prop::collection::vec((any::<bool>(), 0..40_u8, 0..100_usize), 1..200),
    ) {
        let (mut page, mut map) = (Page::zeroed(PAGE_BYTES), BTreeMap::new());
        for (put_in, key, value_bytes) in changes {
            let (key, value) = (vec![key + 1; 3], vec![key; value_bytes]);
            let there = map.contains_key(&key);
            if put_in && !there && Node::of(&page).fits(key.len(), value.len()) {
                insert(&mut page, &key, &value).unwrap();
                map.insert(key, value);
            } else if !put_in && there {
                remove(&mut page, &key).unwrap();
                map.remove(&key);
            }
            prop_assert_eq!(Node::of(&page).check(), Ok(()));
        }
        let entries = Node::of(&page).entries().unwrap();
        let found: BTreeMap<_, _> = entries.into_iter().map(|e| (e.key, e.value)).collect();
        prop_assert_eq!(found, map);
    }
}
